"""The panel, made of the networks' predictions as on the server."""
