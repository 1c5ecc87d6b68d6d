"""The functions behind the command line's verbs and the names of `electra_jax.__all__`: above all
rooms but the command line, which calls them through the package."""
