"""params.yaml as frozen, typed objects, one module per section. Unknown keys raise errors that name the nearest key."""

from yoyak.params.augmentation import Augmentation
from yoyak.params.behaviour import Behaviour
from yoyak.params.data import Columns, Data, Split, Tokenizer
from yoyak.params.deploy import Bench, Export, Gate, Serving
from yoyak.params.ensemble import Ensemble
from yoyak.params.generation import Generation
from yoyak.params.members import Member, TrainedMember
from yoyak.params.registry import Registry
from yoyak.params.report import Report
from yoyak.params.scoring import Scoring

# isort: split
# Families are imported from here on, and may import what is above.
from yoyak.params.any_member import AnyMember, parse_member
from yoyak.params.load import PARAMS_FILE, dump, load, load_or_default, select, validate
from yoyak.params.schema import RESERVED, Params

__all__ = [
    "PARAMS_FILE",
    "RESERVED",
    "AnyMember",
    "Augmentation",
    "Behaviour",
    "Bench",
    "Columns",
    "Data",
    "Ensemble",
    "Export",
    "Gate",
    "Generation",
    "Member",
    "Params",
    "Registry",
    "Report",
    "Scoring",
    "Serving",
    "Split",
    "Tokenizer",
    "TrainedMember",
    "dump",
    "load",
    "load_or_default",
    "parse_member",
    "select",
    "validate",
]
