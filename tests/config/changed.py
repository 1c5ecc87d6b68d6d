"""A configuration with one field set or taken out."""

import copy


def changed(config, key, value=...):
    """`config` with another `value` at a dotted `key`; without a value, without the key."""
    config = copy.deepcopy(dict(config))
    *parents, name = key.split(".")
    node = config
    for parent in parents:
        node = node[parent]
    if value is ...:
        del node[name]
    else:
        node[name] = value
    return config
