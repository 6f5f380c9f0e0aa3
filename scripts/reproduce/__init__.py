"""The command ``meanformer reproduce``: figures of papers, with what theorems say."""
