"""The local server: where it listens (`address`), who may ask (`guard`), what is answered (`application`, `serve`)."""
