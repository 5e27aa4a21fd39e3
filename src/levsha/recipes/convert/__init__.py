"""The recipe convert: any model of a user as integers; `levsha convert` starts it."""
