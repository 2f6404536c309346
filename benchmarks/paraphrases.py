"""How fast and how varied paraphrases are: texts per second, and how many words two texts of one prompt share."""

import time
from itertools import combinations

from prompts.paraphrase import FORMS, forms_for, paraphrases
from prompts.render import render
from prompts.rules import extract
from prompts.sampling import default_distribution

PROMPTS, TEXTS = 100, 20


def main() -> None:
    prompts = [default_distribution().draw(0, index) for index in range(PROMPTS)]
    able = [len(forms_for(prompt)) for prompt in prompts]
    print(f"{len(FORMS)} forms; of {PROMPTS} drawn prompts each can be written in {min(able)} to {max(able)}")
    started = time.process_time()
    texts = [[item.text for item in paraphrases(prompt, 0, TEXTS)] for prompt in prompts]
    spent = time.process_time() - started
    started = time.process_time()
    wrong = sum(
        extract(text).prompt != prompt for prompt, several in zip(prompts, texts, strict=True) for text in several
    )
    read = time.process_time() - started
    print(
        f"{PROMPTS * TEXTS} texts, {wrong} of them not read back; writing takes {spent / read:.1f} times as long as reading"
    )
    print(f"words shared by two texts of one prompt: {overlap(texts):.2f} of all their words (Jaccard index)")
    same = [sorted({render(prompt).lower() for prompt in prompts})]
    print(f"the same between canonical texts of different prompts: {overlap(same):.2f}")
    lengths = sorted(len(text.split()) for several in texts for text in several)
    print(f"words in a text: {lengths[0]} to {lengths[-1]}, median {lengths[len(lengths) // 2]}")
    print(f"distinct texts of one prompt: {min(len(set(several)) for several in texts)} of {TEXTS} at the least")


def overlap(texts: list[list[str]]) -> float:
    """Mean Jaccard index of the words of all pairs inside each list."""
    found = []
    for several in texts:
        bags = [frozenset(text.lower().split()) for text in several]
        found += [len(a & b) / len(a | b) for a, b in combinations(bags, 2)]
    return sum(found) / len(found)


if __name__ == "__main__":
    main()
