"""The laptop's side of Gimel: never part of what ships to AWS."""
