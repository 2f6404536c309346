"""A tiny language model that has learnt one answer for each of a few short reports, in a folder as any other model.

It is a real Llama of 0.1 M weights with a byte-level tokenizer; the pieces of its answers are single tokens, so that
it learns them in seconds. Its chat template shows it the last message of the user alone.
"""

from collections.abc import Mapping
from pathlib import Path

from prompts.llm.instructions import RequestSettings, first_request

__all__ = ["make_tiny_model"]

_TEMPLATE = (
    "{{ bos_token }}{{ (messages | selectattr('role', 'equalto', 'user') | list | last)['content'] }}"
    "{% if add_generation_prompt %}<|answer|>{% endif %}"
)
_PIECE = 60
_CONTEXT = 4096


def make_tiny_model(folder: Path, answers: Mapping[str, str], steps: int = 120) -> Path:
    """Train a model to give `answers` (report to JSON, whose letters beyond ASCII come escaped) to `first_request` and save it in `folder`.

    Raises:
        RuntimeError: if it has not learnt them, so that no test builds on a model that babbles.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer(answers)
    samples = [_sample(tokenizer, report, answer) for report, answer in answers.items()]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=_CONTEXT,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
        loss = _train(model, samples, tokenizer.pad_token_id, steps)
    if loss > 0.05:
        raise RuntimeError(f"the tiny model has not learnt its answers: loss {loss:.3f}")
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _pieces(answer: str) -> list[str]:
    # the byte-level decoder takes other letters of a token for bytes: JSON can escape them
    answer = "".join(char if char.isascii() else f"\\u{ord(char):04x}" for char in answer)
    return [answer[start : start + _PIECE] for start in range(0, len(answer), _PIECE)]


def _tokenizer(answers: Mapping[str, str]):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    whole = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<|begin|>",
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=["<|answer|>"],
        chat_template=_TEMPLATE,
        model_max_length=_CONTEXT,
        clean_up_tokenization_spaces=False,
    )
    pieces = dict.fromkeys(piece for answer in answers.values() for piece in _pieces(answer))
    whole.add_tokens([AddedToken(piece, normalized=False, special=False) for piece in pieces])
    return whole


def _sample(tokenizer, report: str, answer: str) -> tuple[list[int], list[int]]:
    """Token ids of question and answer."""
    request = first_request(report, "tiny", "local", RequestSettings())
    turns = [{"role": message.role, "content": message.content} for message in request.messages]
    question = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True)["input_ids"]
    return question, [*tokenizer.convert_tokens_to_ids(_pieces(answer)), tokenizer.eos_token_id]


def _train(model, samples, pad: int, steps: int) -> float:
    """Minimise the loss of the answers alone; the last loss."""
    import torch

    longest = max(len(question) + len(answer) for question, answer in samples)
    ids = torch.full((len(samples), longest), pad)
    labels = torch.full((len(samples), longest), -100)
    for row, (question, answer) in enumerate(samples):
        ids[row, : len(question) + len(answer)] = torch.tensor([*question, *answer])
        labels[row, len(question) : len(question) + len(answer)] = torch.tensor(answer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    loss = torch.tensor(9.0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other on a busy machine take eight times as long
    for _ in range(steps):
        loss = model(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 0.005:
            break
    torch.set_num_threads(threads)
    return float(loss.item())
