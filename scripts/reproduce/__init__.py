"""The command ``meanformer reproduce``: figures of arXiv 2305.05465, with what theorems say."""
