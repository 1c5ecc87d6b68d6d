"""The resolved configuration of a run, from `--config=FILE[:ARG] --config.a.b=value` on the command
line or `get_config("FILE[:ARG]", {"a.b": value})` in Python; and the declared fields as the
ConfigDict that a configuration file fills in."""

from __future__ import annotations

import copy
import dataclasses
import os
import typing
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.config import fields
from electra_jax.config.describe import Described, describe
from electra_jax.config.resolved import Config, flatten_config
from electra_jax.config.schedule import Schedule
from electra_jax.config.training import DURATIONS
from electra_jax.data.mixture import as_text
from electra_jax.errors import UserError, nearest
from electra_jax.plugins import is_file_reference

_EXAMPLES = {"pretrain": "configs/pretrain.py:small", "finetune": "configs/finetune.py:sst2"}


def config_dict(settings: type) -> Any:
    """A group of declared fields as a ConfigDict of their defaults; a field whose type
    includes None can be set to None again."""
    from ml_collections import ConfigDict
    from ml_collections.config_dict import placeholder

    hints = typing.get_type_hints(settings)
    found = ConfigDict()
    for f in dataclasses.fields(settings):
        hint, default = hints[f.name], fields.default_of(f)
        if dataclasses.is_dataclass(default):
            found[f.name] = config_dict(type(default))
        elif isinstance(default, Mapping):
            found[f.name] = ConfigDict(default)
        elif fields.may_be_none(hint) or fields.takes_words(hint):
            found[f.name] = placeholder(fields.type_of(hint))
            if default is not None:
                found[f.name] = default
        else:
            found[f.name] = default
    return found


def settings_of(config: Mapping[str, Any]) -> type:
    """The declared fields of a resolved configuration: pretraining's or fine-tuning's."""
    if "task" in config:
        from electra_jax.finetuning.task_table import fields_of as finetune_fields

        return finetune_fields(config)
    if "objective" in config:
        from electra_jax.objectives.table import fields_of

        return fields_of(config)
    raise UserError(
        "this configuration has neither `objective`, as pretraining's, nor `task`, as fine-tuning's"
    )


def verb_of(config: Mapping[str, Any]) -> str:
    """The verb that a resolved configuration is for: "finetune" or "pretrain". Raises `UserError`
    for one of neither."""
    settings_of(config)
    return "finetune" if "task" in config else "pretrain"


def describe_config(
    target: str, overrides: Mapping[str, Any] | Sequence[str] = ()
) -> list[Described]:
    """Every field of a configuration with value, default, type, unit and meaning.

    target: FILE[:ARG], such as `pretrain:small`. overrides: values by dotted key, or as on the
    command line: `--config.a.b=value`.
    Raises `UserError` on an unknown file, ARG or field, or a value that does not fit.
    """
    if isinstance(overrides, Mapping):
        config = get_config(target, overrides)
    else:
        config, rest = load_config([f"--config={target}", *overrides])
        if rest:
            raise UserError(f"{rest[0]}: overrides are --config.a.b=value")
    settings = settings_of(config)
    fields.read(settings, config, "", complete=True)
    return describe(settings, config, config.given())


def load_config(argv: Sequence[str], verb: str | None = None) -> tuple[Config, list[str]]:
    """(resolved configuration, arguments left over) from `--config=FILE[:ARG]` and
    `--config.a.b=value`; the fields of the latter are recorded as given.

    FILE is looked up in the current folder first, then among the configurations that ship with the
    package. `verb` is "pretrain" or "finetune" where the configuration must be one of it. An
    unknown key, a value of a wrong type or an unreadable file is a `UserError` that names the
    nearest valid key.
    """
    from absl import flags

    config_arguments = [x for x in argv if x.split("=")[0].split(".")[0] in ("--config", "-config")]
    rest = [x for x in argv if x not in config_arguments]
    if "-h" in rest or "--help" in rest:
        return Config({}), rest
    chosen = [x for x in config_arguments if x.startswith("--config=")]
    overrides = [x for x in config_arguments if x not in chosen]
    if len(chosen) != 1 or any("=" not in x for x in overrides):
        raise UserError(
            f"give one --config=FILE[:ARG], such as --config={_EXAMPLES[verb or 'pretrain']}, and "
            "overrides as --config.a.b=value"
        )
    file, _, argument = chosen[0].removeprefix("--config=").partition(":")
    flag, plain = _plain(file, argument or _own_task(overrides))
    given = [x.removeprefix("--config.").split("=")[0] for x in overrides]
    last = {x.split("=", 1)[0]: x for x in overrides}  # the last value of a field counts
    name = last.get("--config.objective.name", "").partition("=")[2]
    _put_objective(plain, name, given, "--config.")
    for key in given:
        _check_key(plain, key, "--config.")
    _put_schedules(plain, last)
    refusals = (flags.Error, TypeError, ValueError, AttributeError, KeyError)
    try:
        config = _parse(flag, list(last.values()), plain)
    except refusals as error:
        for one in last.values():  # find the one that is wrong
            try:
                _parse(flag, [one], plain)
            except refusals as alone:
                raise UserError(f"{one}: {_short(alone)}") from error
        raise UserError(f"{' '.join(overrides)}: {_short(error)}") from error
    _keep_one_unit(config, given)
    found = Config(config.to_dict(), given)
    if verb is not None:
        _check_verb(found, verb, chosen[0])
    return found, rest


def get_config(name: str, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration of a run, for `pretrain` and `finetune`.

    get_config("pretrain:small", {"data.path": "rows/", "train.steps": 10_000})

    Args:
      name: FILE[:ARG], a file of your own or `pretrain` and `finetune`, which ship with the
        package; `pretrain:SIZE`, `finetune:TASK`.
      overrides: values by dotted key; one unit of a duration replaces the others.

    Returns:
      Resolved nested dicts, with the set of fields that were given.

    Raises:
      UserError: no such file, an unknown key (the nearest one is named), or a value of another
        type than the field's.
    """
    given = {
        key: os.fspath(value) if isinstance(value, os.PathLike) else value
        for key, value in (overrides or {}).items()
    }
    if isinstance(mixture := given.get("data.path"), Mapping):
        given["data.path"] = as_text(mixture)
    file, _, argument = name.partition(":")
    task = str(given.get("task", ""))
    _, config = _plain(file, argument or (task if is_file_reference(task) else ""))
    _put_objective(config, str(given.get("objective.name", "")), list(given), "")
    for key, value in given.items():
        _check_key(config, key, "")
        *groups, last = key.split(".")
        node = config
        for group in groups:
            node = node[group]
        if hasattr(node.get(last), "keys") and not isinstance(value, Mapping):
            raise UserError(f"{key}: it is a group of fields; set one, such as {key}.NAME")
        try:
            if isinstance(value, str | Schedule) and key in _scheduled(config):
                _put_schedule(config, key, str(value))
            else:
                node[last] = value
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise UserError(f"{key}={value!r}: {_short(error)}") from error
    _keep_one_unit(config, list(given))
    return Config(config.to_dict(), given)


def _check_verb(config: Config, verb: str, flag: str) -> None:
    """Raises `UserError` where the configuration is another verb's."""
    right = verb_of(config)
    if right != verb:
        raise UserError(
            f"{flag} is a configuration of {right}: run electra-jax {right}, or give {verb} one of "
            f"its own, such as --config={_EXAMPLES[verb]}"
        )


def _plain(file: str, argument: str) -> tuple[str, Any]:
    """(the flag that names FILE[:ARG], the configuration without overrides)."""
    flag = f"--config={_find_config(file)}" + (f":{argument}" if argument else "")
    try:
        return flag, _parse(flag, [])
    except UserError:
        raise
    except Exception as error:  # a user's configuration file can raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"--config={file}: {lines[-1].strip()}") from error  # a traceback's last


def _parse(flag: str, overrides: Sequence[str], plain: Any = None) -> Any:
    """The file's configuration, or `plain`, with overrides."""
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    full = ["electra-jax", *overrides]
    if plain is None:
        full.append(flag)
        holder = config_flags.DEFINE_config_file(
            "config", None, "", flag_values=values, sys_argv=full
        )
    else:
        holder = config_flags.DEFINE_config_dict(
            "config", copy.deepcopy(plain), flag_values=values, sys_argv=full
        )
    with warnings.catch_warnings():
        # ml_collections loads the file in a way that importlib deprecates.
        warnings.simplefilter("ignore", DeprecationWarning)
        values(full)
    return holder.value


def _keep_one_unit(config: Any, given: Sequence[str]) -> None:
    """Clears the defaults of durations that are given in another unit."""
    for group, units in DURATIONS:
        named = [u for u in units if f"{group}.{u}" in given]
        for unit in units:
            if named and unit not in named and unit in config.get(group, {}):
                config[group][unit] = None


def objective_block(name: str) -> Any:
    """The group `objective` of a configuration: `name` and the objective's own fields."""
    from electra_jax.objectives.table import find_objective

    block = config_dict(find_objective(name).Settings)
    block.name = name
    return block


def _named_block(values: dict[str, Any], name: str) -> Any:
    """The group of the objective `name` (empty: the file's own) with the values that the file sets.

    Under another name, values that differ from the defaults of the file's objective are kept where
    the other objective has the field.
    """
    from electra_jax.objectives.table import find_objective

    own = values.pop("name")
    block = objective_block(name or own)
    if name in ("", own):
        find_objective(own).read_settings(values)  # the file's own keys must be the objective's
        kept = values
    else:
        defaults = objective_block(own)
        kept = {k: v for k, v in values.items() if k not in defaults or defaults[k] != v}
    with block.ignore_type():
        block.update({key: value for key, value in kept.items() if key in block})
    return block


def _put_objective(config: Any, name: str, given: Sequence[str], prefix: str) -> None:
    """Replaces `config.objective` by the group of the objective `name` (empty: the file's own);
    `given` keys must be fields of it."""
    if "objective" not in config:
        return
    with config.unlocked():
        config.objective = _named_block(config.objective.to_dict(), name)
    for key in given:
        group, _, field = key.partition(".")
        if group == "objective" and field and field not in config.objective:
            raise UserError(
                f"{prefix}{key}: objective {config.objective.name!r} has no such field; "
                f"valid: {', '.join(config.objective)}"
            )


def _put_schedules(config: Any, overrides: dict[str, str]) -> None:
    """Moves overrides that are schedules, such as `linear(0.3, 0.15)`, from `overrides` to
    `config`."""
    for key in _scheduled(config):
        text = overrides.get(f"--config.{key}", "").partition("=")[2]
        if not text or text == "None" or _is_number(text):
            continue
        _put_schedule(config, key, text)
        del overrides[f"--config.{key}"]


def _put_schedule(config: Any, key: str, text: str) -> None:
    Schedule.parse(text, key)
    group, _, name = key.partition(".")
    with config.unlocked(), config[group].ignore_type():
        config[group][name] = text


def _scheduled(config: Any) -> list[str]:
    """Dotted names of the fields whose type includes a schedule."""
    found = ["optimizer.learning_rate"]
    if "objective" in config:
        from electra_jax.objectives.table import find_objective

        settings = find_objective(config.objective.name).Settings
        found += [f"objective.{name}" for name in fields.scheduled(settings)]
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _own_task(overrides: Sequence[str]) -> str:
    """The user's own kind of task (`FILE.py:CLASS`) that an override names, "" without one. It is
    the file's ARG, because like a task of the table it decides the roles of columns."""
    tasks = [x.partition("=")[2] for x in overrides if x.startswith("--config.task=")]
    return tasks[-1] if tasks and is_file_reference(tasks[-1]) else ""


def _find_config(file: str) -> str:
    if os.path.isfile(file):
        return file
    # Installed, configs/ is electra_jax.configs; in a checkout it stands beside the package.
    package = Path(__file__).parent
    shipped = [f for f in (package / "configs", package.parent / "configs") if f.is_dir()]
    for folder in shipped:
        candidate = folder / Path(file).with_suffix(".py").name
        names = (f"configs/{candidate.name}", candidate.name, candidate.stem)
        if candidate.is_file() and file in names:
            return str(candidate)
    known = sorted(p.name for folder in shipped for p in folder.glob("[a-z]*.py"))
    raise UserError(f"--config={file}: no such file here, and the package ships {', '.join(known)}")


def _check_key(config: Any, key: str, prefix: str) -> None:
    """Every part of a dotted key exists, or the error names the nearest that does."""
    node: Any = config
    seen: list[str] = []
    for part in key.split("."):
        keys = list(node.keys()) if hasattr(node, "keys") else []
        if part not in keys:
            near = [".".join([*seen, name]) for name in nearest(part, keys)]
            near = near or _elsewhere(config, key.rpartition(".")[2])
            here = [".".join([*seen, k]) for k in keys]
            hint = (
                f"did you mean {' or '.join(prefix.lstrip('-') + name for name in near)}?"
                if near
                else f"valid here: {', '.join(here) or 'nothing, it is a value'}"
            )
            raise UserError(f"{prefix}{key}: there is no {part!r}; {hint}")
        node = node.get_ref(part).get() if hasattr(node, "get_ref") else node[part]
        seen.append(part)


def _elsewhere(config: Any, name: str) -> list[str]:
    """Dotted names of the fields in any group that are called `name`."""
    return [k for k in flatten_config(config.to_dict()) if k.rpartition(".")[2] == name]


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:500] or type(error).__name__
