"""A local model directory as a `ChatModel`: offline, greedy, one request at a time in a thread of its own.

Weights are safetensors only, and no code of the folder is run.
"""

import asyncio
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from manifests.errors import FileFormatError, LocationError, MissingDependencyError
from prompts.llm.chat import ChatRequest, Completion, FatalChatError, RefusedRequestError, Usage

__all__ = ["TransformersChat", "local_model_name"]

_DECIDING = {".safetensors", ".json", ".jinja", ".model", ".txt"}
"""Suffixes of the files of a model folder that decide its answers."""


def local_model_name(folder: Path) -> str:
    """Name the model of a folder by its content, without loading it.

    Raises:
        LocationError: if there is no such folder.
        FileFormatError: if it holds no model.
    """
    _check(folder)
    return f"local-{_digest(folder)}"


class TransformersChat:
    """A causal language model in a folder, as `save_pretrained` writes it.

    Requests beyond the first wait for their turn; the event loop stays free meanwhile.
    """

    endpoint = "local"

    def __init__(self, folder: Path) -> None:
        """Load the folder.

        Raises:
            LocationError: if there is no such folder.
            FileFormatError: if it holds no model that can be loaded.
            MissingDependencyError: if transformers or torch is not installed.
        """
        self.name = local_model_name(folder)
        self._pipeline = _load(folder)
        self._turn = ThreadPoolExecutor(max_workers=1, thread_name_prefix="transformers")

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request greedily.

        Raises:
            FatalChatError: if the request asks for sampling or for another model.
            RefusedRequestError: if the request is longer than the model's context.
        """
        if request.model != self.name:
            raise FatalChatError(f"the folder holds the model {self.name}, the request asks for {request.model}")
        if request.temperature != 0:
            raise FatalChatError("a local model decodes greedily: use temperature 0")
        return await asyncio.get_running_loop().run_in_executor(self._turn, self._complete, request)

    async def aclose(self) -> None:
        """Let the running request end and drop those that wait."""
        await asyncio.to_thread(self._turn.shutdown, wait=True, cancel_futures=True)

    def _complete(self, request: ChatRequest) -> Completion:
        started = time.monotonic()
        model, tokenizer = self._pipeline.model, self._pipeline.tokenizer
        inputs = _encode(tokenizer, request).to(model.device)
        length = int(inputs["input_ids"].shape[1])
        context = getattr(model.config, "max_position_embeddings", None)
        if context is not None and length + request.max_output_tokens > context:
            raise RefusedRequestError(
                f"{length} tokens and {request.max_output_tokens} of the answer exceed the model's context of {context}"
            )
        output = model.generate(**inputs, max_new_tokens=request.max_output_tokens, do_sample=False)
        new = output[0][length:].tolist()
        ends = _ends(model, tokenizer)
        text = tokenizer.decode([token for token in new if token not in ends], skip_special_tokens=True)
        finished = bool(new) and new[-1] in ends
        usage = Usage(input=length, output=len(new))
        latency_s = time.monotonic() - started
        return Completion(text, "stop" if finished else "length", usage, self.name, latency_s)


def _check(folder: Path) -> None:
    if not folder.is_dir():
        raise LocationError(
            f"model folder {folder}", got="no such folder", need="a folder with a model", do="Check the path."
        )
    weights = any(folder.glob("*.safetensors"))
    if not weights or not (folder / "config.json").is_file():
        raise FileFormatError(
            f"model folder {folder}",
            got="no config.json" if weights else "no safetensors file",
            need="config.json, a tokenizer, and weights as safetensors",
            do="Save the model with save_pretrained, or convert its weights.",
        )


def _digest(folder: Path) -> str:
    """Hash names and contents of the files that decide the answers: 20 hexadecimal characters."""
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _DECIDING):
        with path.open("rb") as file:
            whole.update(f"{path.name}:{hashlib.file_digest(file, 'sha256').hexdigest()};".encode())
    return whole.hexdigest()[:20]


def _load(folder: Path) -> Any:
    try:
        from transformers import pipeline
    except ImportError:
        raise _missing("transformers") from None
    if find_spec("torch") is None:  # the pipeline would say so less clearly
        raise _missing("torch")
    try:
        return pipeline("text-generation", model=str(folder), model_kwargs={"use_safetensors": True})
    except Exception as error:  # the loaders raise whatever a broken file makes them raise
        raise FileFormatError(
            f"model folder {folder}",
            got=f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else 'no message'}",
            need="a causal language model with its tokenizer",
            do="Check that the folder is complete.",
        ) from error


def _missing(package: str) -> MissingDependencyError:
    return MissingDependencyError(
        "--llm transformers",
        got=f"no package {package}",
        need="transformers and torch",
        do="pip install 'ct-factory[transformers]'",
    )


def _encode(tokenizer: Any, request: ChatRequest) -> Any:
    """Tokenize a conversation: with the chat template of the tokenizer, or as plain text if it has none."""
    if tokenizer.chat_template:
        turns = [{"role": message.role, "content": message.content} for message in request.messages]
        return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    text = "\n\n".join(message.content for message in request.messages)
    return tokenizer(f"{text}\n\n", return_tensors="pt")


def _ends(model: Any, tokenizer: Any) -> set[int]:
    """Tokens that end an answer."""
    stated = model.generation_config.eos_token_id
    listed = stated if isinstance(stated, list) else [stated]
    return {token for token in (*listed, tokenizer.eos_token_id) if token is not None}
