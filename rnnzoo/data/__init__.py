"""Data as LightningDataModules: character text in contiguous streams, time series, and tests of a long memory.

Names load on first use: the vocabulary alone needs neither Lightning nor `datasets`.
"""

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "CharTextData": "rnnzoo.data.text",
    "Examples": "rnnzoo.data.examples",
    "LabelledSeriesData": "rnnzoo.data.labelled_series",
    "LabelledTextData": "rnnzoo.data.labelled_text",
    "LabelledTexts": "rnnzoo.data.labelled_text",
    "LongMemoryData": "rnnzoo.data.long_memory",
    "PairBatch": "rnnzoo.data.pairs",
    "SequenceBatch": "rnnzoo.data.examples",
    "SeriesData": "rnnzoo.data.series",
    "StreamBatch": "rnnzoo.data.streams",
    "TaggedTextData": "rnnzoo.data.tagged_text",
    "TextExamples": "rnnzoo.data.text_examples",
    "TextPairData": "rnnzoo.data.text_pairs",
    "TextTokenizer": "rnnzoo.data.tokenizers",
    "TokenBatch": "rnnzoo.data.streams",
    "TokenTextData": "rnnzoo.data.token_text",
    "Vocabulary": "rnnzoo.data.vocabulary",
    "Window": "rnnzoo.data.windows",
}
__all__ = [
    "CharTextData",
    "Examples",
    "LabelledSeriesData",
    "LabelledTextData",
    "LabelledTexts",
    "LongMemoryData",
    "PairBatch",
    "SequenceBatch",
    "SeriesData",
    "StreamBatch",
    "TaggedTextData",
    "TextExamples",
    "TextPairData",
    "TextTokenizer",
    "TokenBatch",
    "TokenTextData",
    "Vocabulary",
    "Window",
]

if TYPE_CHECKING:
    from rnnzoo.data.examples import Examples, SequenceBatch
    from rnnzoo.data.labelled_series import LabelledSeriesData
    from rnnzoo.data.labelled_text import LabelledTextData, LabelledTexts
    from rnnzoo.data.long_memory import LongMemoryData
    from rnnzoo.data.pairs import PairBatch
    from rnnzoo.data.series import SeriesData
    from rnnzoo.data.streams import StreamBatch, TokenBatch
    from rnnzoo.data.tagged_text import TaggedTextData
    from rnnzoo.data.text import CharTextData
    from rnnzoo.data.text_examples import TextExamples
    from rnnzoo.data.text_pairs import TextPairData
    from rnnzoo.data.token_text import TokenTextData
    from rnnzoo.data.tokenizers import TextTokenizer
    from rnnzoo.data.vocabulary import Vocabulary
    from rnnzoo.data.windows import Window


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'rnnzoo.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
