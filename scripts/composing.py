"""What the commands that Hydra composes share: making and checking parts, and one message for a mistake."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import ponder
from ponder.errors import UserError
from ponder.samplers.flops import Flops
from ponder.scripts.solve import in_background
from ponder.verifiers.check import acheck

PACKAGE = Path(ponder.__file__).parent
HELP = "--help lists the groups and keys; +KEY=VALUE adds a key that is not there yet"
UNSTAMPED = ("out", "concurrency", "logger", "prompt", "sandbox")
"""Keys that do not change a run's rows; a recipe for prompts is in the model, and a sandbox in the task."""

OmegaConf.register_new_resolver("embedded", lambda name: str(PACKAGE / "tasks" / "embedded" / name), replace=True)


def made(key: str, config: DictConfig) -> Any:
    """What a part of the configuration describes.

    Raises:
        UserError: it cannot be made of the values given; names them all.
    """
    try:
        return instantiate(config[key])
    except InstantiationException as error:
        cause = error.__cause__ or error.__context__
        if isinstance(cause, (UserError, ImportError)) or cause is None:
            raise
        values = OmegaConf.to_container(config[key], resolve=True)
        raise UserError(f"{key} cannot be made of {values}: {type(cause).__name__}: {cause}", HELP) from error


def made_verifier(config: DictConfig, choices: Mapping[str, str]) -> Any:
    """The verifier of a command that is about one; its contract is not tried yet.

    Raises:
        UserError: none is chosen, it cannot be made, or it asks a model that follows no instructions.
    """
    chosen_verifier(choices)
    verifier = made("verifier", config)
    check_judges({"verifier": verifier}, config, choices)
    return verifier


def chosen_verifier(choices: Mapping[str, str]) -> str:
    """The name of the verifier that a command is about.

    Raises:
        UserError: none is chosen.
    """
    if choices.get("verifier") in (None, "none"):
        raise UserError("no verifier given", "verifier=NAME; --help lists their names")
    return choices["verifier"]


def whole(config: DictConfig, least: Mapping[str, int]) -> None:
    """Refuses keys that are no whole numbers from their least.

    Raises:
        UserError: names the key, its value and what is allowed.
    """
    for key, lowest in least.items():
        value = OmegaConf.select(config, key)
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise UserError(f"{key}={value} is out of range", f"allowed: a whole number from {lowest}")


def digest(plain: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of what makes the rows of a resolved configuration."""
    stamped = {key: value for key, value in plain.items() if key not in UNSTAMPED}
    return hashlib.blake2b(json.dumps(stamped, sort_keys=True).encode(), digest_size=4).hexdigest()


def git_commit() -> str | None:
    """The commit of the working folder, None outside a repository."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def check_verifiers(verifiers: Mapping[str, Any]) -> None:
    """Tries the contract on a user's own verifiers.

    Ours were checked by their tests, and a model's engine should not start before it is used.

    Raises:
        UserError: names the class, what was expected and found, and the remedy.
    """
    for part in verifiers.values():
        if not type(part).__module__.startswith("ponder."):
            in_background(acheck(part))


def check_judges(verifiers: Mapping[str, Any], config: DictConfig, choices: Mapping[str, str]) -> None:
    """Refuses a verifier, or a task with a judge, that asks in words if the model it asks follows no instructions.

    Args:
        verifiers: by the key that they have in the configuration.
        config: has the node `model`.
        choices: which option each group has.

    Raises:
        UserError: says how to give it another model.
    """
    for key, part in verifiers.items():
        asked = [getattr(getattr(one, "judge", None), "model", None) for one in members(part)]
        if any(deaf(model, config) for model in asked):
            raise UserError(
                f"{key}={choices.get(key, type(part).__name__)} asks a model in words; "
                f"model={choices.get('model')} follows no instructions",
                "model=smollm2 or model=local model.path=DIR; or a judge of its own: "
                f"'{key}.judge{'.sampler' if key == 'task' else ''}="
                "{_target_:ponder.samplers.vllm_engine.VLLMSampler,model:DIR}'",
            )


def members(verifier: Any) -> Iterator[Any]:
    """A verifier, and the members of an ensemble: ours keeps them wrapped, a user's may have `members`."""
    yield verifier
    inner: Any = getattr(verifier, "members", None) or ()
    for member in inner.values() if isinstance(inner, Mapping) else inner:
        yield from members(getattr(member, "verifier", member))


def sizes(parts: Mapping[str, Any]) -> dict[str, int]:
    """How many weights the model of each role has; a role whose model cannot be read is left out.

    Args:
        parts: samplers and verifiers by role. Of an ensemble the largest model counts.
    """
    found: dict[str, int] = {}
    for role, part in parts.items():
        models = {
            getattr(asked, "model", None) for one in members(part) for asked in (one, getattr(one, "judge", None))
        }
        for model in filter(None, models):
            with suppress(Exception):  # the engine tells better what is wrong with a checkpoint
                found[role] = max(found.get(role, 0), Flops.of(model).parameters)
    return found


def deaf(model: str | None, config: DictConfig) -> bool:
    """Whether a checkpoint is the configured one, and that one follows no instructions."""
    configured = config.get("model") or {}
    return model is not None and model == configured.get("path") and not configured.get("instructions", True)


def composed(name: str, config_name: str, work: Callable[[DictConfig, Mapping[str, str]], None]) -> None:
    """Runs a command's work on what Hydra composes of a yaml in conf/ and the process's arguments.

    Args:
        name: the command.
        config_name: the yaml, without its ending.
        work: called with the configuration and with which option each group has.
    """

    def job(config: DictConfig) -> None:
        try:
            work(config, HydraConfig.get().runtime.choices)
        except Exception as error:  # here, before Hydra says that it is one
            end(name, error)

    command(name, hydra.main(version_base="1.3", config_path="pkg://ponder.conf", config_name=config_name)(job))


def command(name: str, job: Callable[[], None]) -> None:
    """Runs a job that Hydra composes; a mistake of the user ends in one message and exit code 2.

    Args:
        name: the command.
        job: decorated by `hydra.main`.
    """
    sys.path.insert(0, os.getcwd())  # a user's own verifier stands beside their yamls
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here instead of being printed by Hydra
    try:
        job()
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `ponder --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        end(name, error)
    finally:
        stop_engines()


def stop_engines() -> None:
    """Ends engines while the loop still runs: at interpreter exit vLLM takes the end for a crash, and says so."""
    loaded = [module for name, module in sys.modules.items() if name.startswith("ponder.")]
    for shutdown in dict.fromkeys(getattr(module, "shutdown_engines", None) for module in loaded):
        if shutdown is not None:
            shutdown()


def end(name: str, error: Exception) -> NoReturn:
    """Ends a command with a mistake's message and exit code 2; an error that is not the user's goes on."""
    message = explain(name, error)
    if message is None:
        raise error
    print(f"{name}: {message}", file=sys.stderr)
    sys.exit(2)


def explain(name: str, error: BaseException) -> str | None:
    """What the user of a command did wrong, None if the error is not theirs."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    mistakes = [one for one in chain if isinstance(one, UserError)]
    if mistakes:
        return str(mistakes[0])
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        causes = [str(one).strip() for one in chain if not isinstance(one, HydraException)]
        parts = dict.fromkeys([str(error).split("Config search path:")[0].strip(), *causes])
        return "\n  ".join([*parts, f"{name} {HELP}"])
    return None
