"""What stands around an RNN: embeddings and heads."""

from rnnzoo.models.blocks import BlockStack
from rnnzoo.models.crf import LinearChainCRF
from rnnzoo.models.encoder_decoder import EncoderDecoder
from rnnzoo.models.forecast_model import ForecastModel
from rnnzoo.models.pooling import Pooling
from rnnzoo.models.regular import regular
from rnnzoo.models.sequence_model import SequenceModel
from rnnzoo.models.stem import ConvolutionalStem
from rnnzoo.models.tagging_model import TaggingModel
from rnnzoo.models.text_model import TextModel
from rnnzoo.models.token_model import TokenModel
from rnnzoo.models.word_characters import WordCharacters

__all__ = [
    "BlockStack",
    "ConvolutionalStem",
    "EncoderDecoder",
    "ForecastModel",
    "LinearChainCRF",
    "Pooling",
    "SequenceModel",
    "TaggingModel",
    "TextModel",
    "TokenModel",
    "WordCharacters",
    "regular",
]
