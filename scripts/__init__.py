"""The command ``meanformer``: one module a verb."""
