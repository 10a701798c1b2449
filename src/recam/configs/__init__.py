"""Every option, as plain dataclasses. Standard library only, so that ``recam --help`` is fast.

The command line, the web page and Python callers build the same objects; a run writes them to its
``config.json``. Degrees appear only here, at the user's edge.
"""

from __future__ import annotations

from recam.configs.completion import SEARCHED as SEARCHED
from recam.configs.completion import AdaptMethod as AdaptMethod
from recam.configs.completion import Aspect as Aspect
from recam.configs.completion import CompleteConfig as CompleteConfig
from recam.configs.completion import CompletionModel as CompletionModel
from recam.configs.completion import Conditioning as Conditioning
from recam.configs.completion import FeatureCache as FeatureCache
from recam.configs.completion import Fill as Fill
from recam.configs.completion import FoundationConfig as FoundationConfig
from recam.configs.completion import MaskSource as MaskSource
from recam.configs.completion import PairConfig as PairConfig
from recam.configs.completion import Placement as Placement
from recam.configs.completion import Quantize as Quantize
from recam.configs.completion import RenderConfig as RenderConfig
from recam.configs.completion import Sampler as Sampler
from recam.configs.completion import Schedule as Schedule
from recam.configs.paths import CameraFormat as CameraFormat
from recam.configs.paths import PathConfig as PathConfig
from recam.configs.paths import PathPreset as PathPreset
from recam.configs.paths import SceneFormat as SceneFormat
from recam.configs.paths import Speed as Speed
from recam.configs.paths import WrittenCameraFormat as WrittenCameraFormat
from recam.configs.reconstruction import ALL_RULES as ALL_RULES
from recam.configs.reconstruction import WORKING_SIDE_PX as WORKING_SIDE_PX
from recam.configs.reconstruction import CameraMotion as CameraMotion
from recam.configs.reconstruction import DepthKind as DepthKind
from recam.configs.reconstruction import DepthModel as DepthModel
from recam.configs.reconstruction import InputConfig as InputConfig
from recam.configs.reconstruction import LensKind as LensKind
from recam.configs.reconstruction import Quality as Quality
from recam.configs.reconstruction import ReconstructConfig as ReconstructConfig
from recam.configs.reconstruction import ReconstructRules as ReconstructRules
from recam.configs.tasks import EditConfig as EditConfig
from recam.configs.tasks import EditContent as EditContent
from recam.configs.tasks import Eye as Eye
from recam.configs.tasks import Fit as Fit
from recam.configs.tasks import Generator as Generator
from recam.configs.tasks import ImageConfig as ImageConfig
from recam.configs.tasks import InterpolateConfig as InterpolateConfig
from recam.configs.tasks import ReshootConfig as ReshootConfig
from recam.configs.tasks import RigConfig as RigConfig
from recam.configs.tasks import StereoConfig as StereoConfig
from recam.configs.tasks import StereoGaps as StereoGaps
from recam.configs.tasks import StereoLayout as StereoLayout
from recam.configs.tasks import StereoOutlines as StereoOutlines
from recam.configs.training import DepthTrainConfig as DepthTrainConfig
from recam.configs.training import EngineConfig as EngineConfig
from recam.configs.training import FinetuneConfig as FinetuneConfig
from recam.configs.training import FoundationTrainConfig as FoundationTrainConfig
from recam.configs.training import ModelConfig as ModelConfig
from recam.configs.training import ObjectiveConfig as ObjectiveConfig
from recam.configs.training import PairsConfig as PairsConfig
from recam.configs.training import PretrainConfig as PretrainConfig
