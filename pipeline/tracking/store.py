"""The store: where it is, how it is reached, what is said when it is not."""

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import data
from pipeline.errors import BadInput
from pipeline.tracking import view

LATER = "run `pipeline track` when it can be reached again."


def address() -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or mlflow.db at the root of the repository."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    return f"sqlite:///{data.root().resolve() / uri.removeprefix('sqlite:///')}" if _local(uri) else uri


def client() -> Any:
    """MLflow's client of the store."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the address of each run, with its password
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db").setLevel(logging.CRITICAL)  # the traces of errors that come here anyway
    with alone():
        made = MlflowClient(address(), registry_uri=address())
        made.search_experiments(max_results=1)  # a new database gets its tables here
    return made


def experiment(client: Any, task: str) -> str:
    """The id of a task's experiment, made where there is none."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(task)) is None:
        # MLflow keeps this place as an absolute address; a server chooses its own.
        uri = address()
        place = (Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts" / task).as_uri() if _local(uri) else None
        try:
            found = client.get_experiment(client.create_experiment(task, artifact_location=place))
        except MlflowException:
            if (found := client.get_experiment_by_name(task)) is None:
                raise  # else another process made it in between
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    if view.TAG not in found.tags:
        for key, value in view.tags(task, found.experiment_id).items():
            client.set_experiment_tag(found.experiment_id, key, value)
    return str(found.experiment_id)


class Attempt:
    """Does what it is told until something fails, which becomes one warning: none of the training's business."""

    def __init__(self, name: str):
        self.name, self.failed = name, False

    def __call__(self, what: str, action: Callable[[], Any]) -> Any:
        """What `action` gives; None if it, or one before it, failed."""
        if not self.failed:
            try:
                return action()
            except Exception as error:
                self.failed = True
                text = f"MLflow did not take down {what} of {self.name} ({plain(error)}); {LATER}"
                warnings.warn(text, stacklevel=2)
        return None


@contextmanager
def needed(make: bool = False) -> Iterator[Any]:
    """A client for a command that is nothing without the store: what goes wrong becomes a BadInput.

    A store of the repository's own that is not there yet is made if `make` says so.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    place = masked(address())
    if _local(address()) and not make and not Path(address().removeprefix("sqlite:///")).is_file():
        raise BadInput(f"there is no MLflow store {place}: make one with `make repro` or `pipeline track`.")
    try:
        try:
            made = client()
        except (ImportError, ValueError) as error:
            raise MlflowException(str(error)) from error  # a driver that is not installed, an address that is none
        yield made
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if "out-of-date database schema" in str(error) or "Can't locate revision" in str(error):
            raise BadInput(
                f"the MLflow store {place} was made by another version of MLflow; copy it, then run "
                f"`mlflow db upgrade {place}`."
            ) from None
        raise BadInput(
            f"the MLflow store {place} does not answer ({plain(error)}); start it, or mend MLFLOW_TRACKING_URI."
        ) from None


def plain(error: Exception) -> str:
    """An error of a library as a few words, without credentials."""
    return masked(" ".join(str(error).split("\n[SQL:")[0].split()))[:200]


def masked(text: str) -> str:
    """A text without the user, password and query that an address in it may hold."""
    # Up to the last @ of all, since a password that is not quoted as it should be may hold both / and @.
    return re.sub(r"(://(?!/)[^\s?]*\?)\S+", r"\1***", re.sub(r"://(?!/)\S*@", "://***@", text))


def _local(uri: str) -> bool:
    return uri.startswith("sqlite:///")


@contextmanager
def alone() -> Iterator[None]:
    """One process of this machine at a time: making the tables of a new SQLite file, changing the champion."""
    from filelock import FileLock

    uri = address()
    if not _local(uri):
        yield
        return
    with FileLock(f"{uri.removeprefix('sqlite:///')}.lock", timeout=30):
        yield
