"""ROUGE that is correct for Korean, as a local module for Hugging Face evaluate.

evaluate.load(str(yoyak.scoring.module_path())).compute(predictions=[...], references=[...])
"""

from typing import Any

import datasets
import evaluate

from yoyak.params import Scoring
from yoyak.scoring.rouge import rouge

_DESCRIPTION = """ROUGE-1, ROUGE-2 and ROUGE-L F1, and their weighted combination, at the granularity of words
(eojeol), morphemes, syllables, or English stems, with masks such as #Person1# as single tokens."""

_INPUTS = """
Args:
    predictions: summaries to score.
    references: for each prediction, one summary or a list of several.
    granularity: morpheme (default), eojeol, syllable, or english (rouge_score with its stemmer).
    multi_reference: mean (default) or max over several references.
    weights: weights of ROUGE-1, ROUGE-2 and ROUGE-L in the combined score.
    processes: number of worker processes.
Returns:
    rouge1, rouge2, rougeL, combined: means over the predictions, 0 to 1.
"""

_CITATION = """@inproceedings{lin-2004-rouge,
    title = "{ROUGE}: A Package for Automatic Evaluation of Summaries",
    author = "Lin, Chin-Yew", booktitle = "Text Summarization Branches Out", year = "2004"}"""


class YoyakRouge(evaluate.Metric):
    """Mean ROUGE over predictions."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        several = datasets.Features({"predictions": text, "references": datasets.Sequence(text)})
        single = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=[several, single],
        )

    def _compute(
        self,
        predictions: list[str],
        references: list[Any],
        granularity: str = "morpheme",
        multi_reference: Any = "mean",
        weights: tuple[float, float, float] | None = None,
        processes: int = 1,
    ) -> dict[str, float]:
        scores = rouge(
            predictions,
            [[row] if isinstance(row, str) else row for row in references],
            granularity=granularity,
            multi_reference=multi_reference,
            weights=Scoring().weights if weights is None else weights,
            processes=processes,
        )
        return {metric: float(values.mean()) for metric, values in scores.items()}
