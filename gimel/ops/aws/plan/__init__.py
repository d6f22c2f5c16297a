"""Plans as data: the steps that change a deployment. Nothing here calls AWS."""
