"""The one place that knows the concrete classes: the parts of each process, made out of the environment."""
