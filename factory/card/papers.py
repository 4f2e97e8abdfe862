"""The papers that a run's methods come from, and their BibTeX, which is made of facts alone.

papers(["self_instruct", "rouge_l"])  ->  [Paper("wang2022selfinstruct", "Wang, Yizhong", 2022, "Self-Instruct: …")]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Paper(NamedTuple):
    """One paper on arXiv.

    Attributes:
        key: For BibTeX.
        author: The first of the authors.
        year: Of the first version.
        title: As the paper has it.
        arxiv: Its number.
        part: What the run took from it.
    """

    key: str
    author: str
    year: int
    title: str
    arxiv: str
    part: str

    def bibtex(self) -> str:
        """The entry."""
        title = self.title.replace("&", "\\&")
        return (
            f"@misc{{{self.key},\n  author = {{{self.author} and others}},\n  title = {{{title}}},\n"
            f"  year = {{{self.year}}},\n  eprint = {{{self.arxiv}}},\n  archivePrefix = {{arXiv}},\n"
            f"  url = {{https://arxiv.org/abs/{self.arxiv}}}\n}}"
        )


SELF_INSTRUCT = Paper(
    "wang2022selfinstruct",
    "Wang, Yizhong",
    2022,
    "Self-Instruct: Aligning Language Models with Self-Generated Instructions",
    "2212.10560",
    "instructions and their instances from a growing pool, and the test of novelty",
)
FAITHFUL = Paper(
    "veselovsky2023faithful",
    "Veselovsky, Veniamin",
    2023,
    "Generating Faithful Synthetic Data with Large Language Models: A Case Study in Computational Social Science",
    "2305.15041",
    "grounding, taxonomies and filtering of labelled texts",
)
KURAKIN = Paper(
    "kurakin2023harnessing",
    "Kurakin, Alexey",
    2023,
    "Harnessing Large-Language Models to Generate Private Synthetic Text",
    "2306.01684",
    "differentially private fine-tuning for synthetic text",
)
ABADI = Paper(
    "abadi2016dpsgd", "Abadi, Martin", 2016, "Deep Learning with Differential Privacy", "1607.00133", "DP-SGD"
)
GREAT = Paper(
    "borisov2022great",
    "Borisov, Vadim",
    2022,
    "Language Models are Realistic Tabular Data Generators",
    "2210.06280",
    "rows of tables in random orders of their columns",
)

PAPERS: dict[str, tuple[Paper, ...]] = {
    "self_instruct": (SELF_INSTRUCT,),
    "rouge_l": (SELF_INSTRUCT,),
    "evol_instruct": (
        Paper(
            "xu2023wizardlm",
            "Xu, Can",
            2023,
            "WizardLM: Empowering Large Language Models to Follow Complex Instructions",
            "2304.12244",
            "evolutions of tasks, and their elimination",
        ),
    ),
    "magpie": (
        Paper(
            "xu2024magpie",
            "Xu, Zhangchen",
            2024,
            "Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned LLMs with Nothing",
            "2406.08464",
            "instructions written by the model from an opened turn",
        ),
    ),
    "persona": (
        Paper(
            "ge2024personas",
            "Ge, Tao",
            2024,
            "Scaling Synthetic Data Creation with 1,000,000,000 Personas",
            "2406.20094",
            "tasks written for personas",
        ),
    ),
    "deita": (
        Paper(
            "liu2023deita",
            "Liu, Wei",
            2023,
            "What Makes Good Data for Alignment? A Comprehensive Study of Automatic Data Selection in Instruction Tuning",
            "2312.15685",
            "scores of complexity and quality",
        ),
    ),
    "faithful_text": (FAITHFUL,),
    "discriminator": (FAITHFUL,),
    "great": (GREAT,),
    "row_transformer": (GREAT,),
    "tvae": (
        Paper(
            "xu2019ctgan",
            "Xu, Lei",
            2019,
            "Modeling Tabular data using Conditional GAN",
            "1907.00503",
            "the variational autoencoder for tables",
        ),
    ),
    "private_evolution": (
        Paper(
            "xie2024augpe",
            "Xie, Chulin",
            2024,
            "Differentially Private Synthetic Data via Foundation Model APIs 2: Text",
            "2403.01749",
            "private texts that vote for synthetic ones",
        ),
    ),
    "dp_lora": (
        KURAKIN,
        Paper(
            "hu2021lora",
            "Hu, Edward J.",
            2021,
            "LoRA: Low-Rank Adaptation of Large Language Models",
            "2106.09685",
            "low-rank adapters",
        ),
        ABADI,
    ),
    "dp_prompt_tuning": (
        KURAKIN,
        Paper(
            "lester2021prompt",
            "Lester, Brian",
            2021,
            "The Power of Scale for Parameter-Efficient Prompt Tuning",
            "2104.08691",
            "soft prompts",
        ),
        ABADI,
    ),
    "decontaminate": (
        Paper(
            "brown2020gpt3",
            "Brown, Tom B.",
            2020,
            "Language Models are Few-Shot Learners",
            "2005.14165",
            "the test for overlap with benchmarks",
        ),
    ),
    "quality": (
        Paper(
            "rae2021gopher",
            "Rae, Jack W.",
            2021,
            "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
            "2112.11446",
            "rules against repetition",
        ),
    ),
}


def papers(methods: Iterable[str]) -> list[Paper]:
    """Papers of those methods, each once, in the order of the steps."""
    return list(dict.fromkeys(paper for method in methods for paper in PAPERS.get(method, ())))
