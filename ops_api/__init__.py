"""The only package that knows FastAPI: the ops API and the `fieldpost` command."""
