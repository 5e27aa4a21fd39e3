"""A chat net: query|response pairs in, an answer character by character out."""
