"""Deploying to AWS: what is there, what should be there, and the steps from one to the other."""
