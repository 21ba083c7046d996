"""The connection to the MLflow store: its address, its client, and what happens when it fails."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError, quoted, redact, shortened
from pipeline.files import draft
from pipeline.paths import repository

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

SQLITE = "sqlite:///"
ARTIFACTS = "mlartifacts"  # the folder beside a SQLite file

log = logging.getLogger(__name__)


def tracking_uri() -> str:
    """Where runs go: MLFLOW_TRACKING_URI, or mlflow.db in the root of the repository."""
    file = database_file()
    return os.environ["MLFLOW_TRACKING_URI"] if file is None else f"{SQLITE}{file}"


def database_file() -> Path | None:
    """The absolute path of the store's SQLite file; None if the store is a server or another database."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if not uri.startswith(SQLITE):
        return None
    file = Path(uri.removeprefix(SQLITE))
    file = file if file.is_absolute() else repository().resolve() / file
    if odd := set("?#%") & set(str(file)):
        raise PipelineError(
            f"the path of the MLflow store, {quoted(str(file), 200)}, contains {min(odd)}, which means something else "
            "in its address; move the project to a folder without it."
        )
    return file


def client() -> "MlflowClient":
    """MLflow's client of the store. Creates the tables of a new database."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # MLflow would print the address of each run, with the password in it.
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # They log tracebacks, and the names of profiles, of errors that MLflow raises anyway.
    for name in ("mlflow.store.db", "mlflow.utils.databricks_utils"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    uri, file = tracking_uri(), database_file()
    if file is None:
        _require_answer(uri)
        return MlflowClient(uri, registry_uri=uri)
    with exclusive():
        if not file.exists():
            _create(file)
        mlflow_client, experiments = _open(uri, file)
        _require_here(experiments, file)
    return mlflow_client


def _create(file: Path) -> None:
    """Create the store's tables beside it and rename it: a creation that is interrupted leaves no half of a store."""
    from mlflow import MlflowClient

    with draft(file) as new:
        MlflowClient(f"{SQLITE}{new}").search_experiments(max_results=1)


def _open(uri: str, file: Path) -> "tuple[MlflowClient, list[Experiment]]":
    """The client of a SQLite store, and its experiments. Raises PipelineError if its creation was interrupted."""
    from mlflow import MlflowClient

    if not file.is_file():
        raise PipelineError(f"the MLflow store {quoted(str(file), 200)} is not a file; remove it.")
    try:
        client = MlflowClient(uri, registry_uri=uri)
        return client, list(client.search_experiments())
    except Exception as error:
        if "already exists" not in str(error):
            raise
        raise PipelineError(
            f"{quoted(str(file), 200)} is incomplete: its creation was interrupted; delete it, and `pipeline track` "
            "makes it again."
        ) from None


def _require_here(experiments: "list[Experiment]", file: Path) -> None:
    """Raise PipelineError if a SQLite store was made in another folder."""
    here = (file.parent / ARTIFACTS).as_uri()
    for experiment in experiments:
        folder = str(experiment.artifact_location).removesuffix(f"/{experiment.name}")
        if folder != here and folder.startswith("file:") and folder.endswith(f"/{ARTIFACTS}"):
            raise PipelineError(
                f"{quoted(str(file), 200)} was made in another folder, and MLflow would write into {folder}; move it "
                "back, or delete it: `pipeline track` makes it again from DVC's cache."
            )


def _require_answer(uri: str) -> None:
    """Connect to a database once, within ten seconds, and raise its error: MLflow would try for two minutes."""
    import sqlalchemy

    if uri.startswith(("postgresql", "mysql")):
        engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": 10})
        engine.connect().close()
        engine.dispose()


@contextmanager
def connected(create: bool = False) -> Iterator["MlflowClient"]:
    """A client for a command that cannot work without the store. Raises PipelineError for what MLflow raises.

    Unless `create` is true, a SQLite file that does not exist is an error.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    uri, file = redact(tracking_uri()), database_file()
    if file and not create and not file.is_file():
        raise PipelineError(f"there is no MLflow store {uri}; run `make repro` or `pipeline track` to create it.")
    try:
        try:
            mlflow_client = client()
        except (ImportError, ValueError) as error:  # a driver that is not installed, an address that is not valid
            raise MlflowException(str(error)) from error
        yield mlflow_client
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if "out-of-date database schema" in str(error) or "Can't locate revision" in str(error):
            raise PipelineError(
                f"the MLflow store {uri} was made by another version of MLflow; copy it, then run "
                f"`mlflow db upgrade {uri}`."
            ) from None
        if file and (isinstance(error, OSError) or "disk I/O" in str(error) or "readonly" in str(error)):
            raise PipelineError(
                f"the MLflow store {uri} could not be read or written ({short_error(error)}); free some space, or "
                "fix the permissions."
            ) from None
        raise PipelineError(
            f"the MLflow store {uri} does not answer ({short_error(error)}); start it, or fix MLFLOW_TRACKING_URI."
        ) from None


class BestEffort:
    """Runs actions that must not stop a stage: the first that fails is logged as a warning, later ones are skipped.

    None is run where the environment says PIPELINE_RECORD=off, as for the stages of a reproduction.
    """

    def __init__(self, name: str):
        self.name, self.failed = name, os.environ.get("PIPELINE_RECORD") == "off"

    def __call__(self, what: str, action: Callable[[], Any]) -> Any:
        """The result of `action`, which records `what`; None if it or an earlier action failed."""
        if not self.failed:
            try:
                return action()
            except Exception as error:
                self.failed = True
                log.warning(
                    "MLflow could not record %s of %s (%s); run `pipeline track` when it can be reached again.",
                    what,
                    self.name,
                    short_error(error),
                )
        return None


def short_error(error: Exception) -> str:
    """An error of a library as one short line, without credentials."""
    return shortened(redact(str(error).split("\n[SQL:")[0].replace("\n", " ")), 200).rstrip(".")


@contextmanager
def exclusive() -> Iterator[None]:
    """One process of this machine at a time, if the store is a SQLite file: its lock lies beside it.

    For creating tables, and for changes that read first: two processes would each create a run.
    """
    from filelock import FileLock

    file = database_file()
    if file is None:
        yield
        return
    with FileLock(f"{file}.lock", timeout=30):
        yield
