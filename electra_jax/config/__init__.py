"""Every field of a configuration: how one is declared, the groups, a network's shape, schedules."""
