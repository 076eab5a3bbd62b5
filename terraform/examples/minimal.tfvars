# The least: one environment with the base image, for whoever applies it.
project = "my-project"
