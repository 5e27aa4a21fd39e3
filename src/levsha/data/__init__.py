"""Files -> arrays; every mistake in a file is named."""
