"""The page, and the server that shows it on this machine alone."""

import errno
import importlib.util
import inspect
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.demo import guard
from pipeline.errors import PipelineError

HOST = "127.0.0.1"
LARGEST_FILE = "50mb"
SESSIONS = 200  # whose state is kept
CACHE = (600, 600)  # seconds: how often uploaded files are looked at, and how old those are that are deleted
STYLE = Path(__file__).parent / "style.css"


@contextmanager
def running(port: int | None, open_browser: bool) -> Iterator[str]:
    """The address of the page, while the `with` lasts: this port, or the first free one from 7860 on.

    All that it writes lies in a temporary folder. Raises PipelineError if Gradio is not installed, no model is
    exported, or the port is taken.
    """
    if importlib.util.find_spec("gradio") is None:
        raise PipelineError("Gradio is not installed; run `pip install -r requirements.lock`.")
    if port:
        _require_free(port)
    with tempfile.TemporaryDirectory(prefix="pipeline-demo-") as folder:
        os.environ.update(guard.environment(folder))
        guard.stay_local()
        with _without_stubs():
            from gradio import themes
            from starlette.middleware import Middleware

        page = _page()
        theme = themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
        try:
            _, address, _ = page.launch(
                server_name=HOST,
                server_port=port,
                inbrowser=open_browser,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                footer_links=[],
                ssr_mode=False,
                max_file_size=LARGEST_FILE,
                state_session_capacity=SESSIONS,
                css_paths=STYLE,
                app_kwargs={"middleware": [Middleware(guard.Door)]},
                theme=theme,
            )
        except OSError:
            raise PipelineError(
                f"all ports of {HOST} from 7860 to 7959 are taken; choose another one with --port."
            ) from None
        try:
            yield address
        finally:
            page.close(verbose=False)


def _require_free(port: int) -> None:
    """Raise PipelineError unless this process may listen on a port."""
    with socket.socket() as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            door.bind((HOST, port))
        except OSError as error:
            reason = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise PipelineError(f"port {port} of {HOST} {reason}; choose another one with --port.") from None


@contextmanager
def _without_stubs() -> Iterator[None]:
    """While Gradio is imported, let it find no source files: it would compare a stub beside each with its class.

    That takes half of the time of its import, and would write into the folder of its package.
    """
    find = inspect.getfile

    def found(thing: Any) -> str:
        if getattr(thing, "__module__", "").startswith("gradio."):
            raise OSError("left out")
        return find(thing)

    inspect.getfile = found  # type: ignore[assignment]
    try:
        yield
    finally:
        inspect.getfile = find


def _page() -> Any:
    """The gr.Blocks: a tab for each task that has a model, and one for all models."""
    import gradio as gr

    from pipeline.demo import bits, digit, fable, models
    from pipeline.demo.exports import Exports

    exports = Exports()
    with gr.Blocks(title="LSTM pipeline", analytics_enabled=False, delete_cache=CACHE) as page:
        gr.Markdown("# LSTMs, step by step\nEach model reads a sequence. See what it would say after each step.")
        for task, (title, tab) in {
            "mnist": ("Digit", digit.tab),
            "bits": ("Bits", bits.tab),
            "fable": ("Fable", fable.tab),
        }.items():
            if names := exports.of_task(task):
                with gr.Tab(title, id=task):
                    tab(page, exports, names)
        with gr.Tab("Models", id="models") as item:
            models.tab(item, exports)
    return page
