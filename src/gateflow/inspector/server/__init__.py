"""The local server: who may ask (`guard`), what is answered (`application`), and where it listens (`serve`)."""
