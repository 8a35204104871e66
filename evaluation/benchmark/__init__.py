"""Running a tracker over a benchmark: in this process, in several, or on a cluster; interrupted and resumed."""

from ebm_tracker.evaluation.benchmark.display import Silent, open_display
from ebm_tracker.evaluation.benchmark.job_run import TrackerBuildError
from ebm_tracker.evaluation.benchmark.jobs import TrackerFactory
from ebm_tracker.evaluation.benchmark.manifest import Manifest, ManifestError, read_manifest
from ebm_tracker.evaluation.benchmark.pool import ProcessEngine
from ebm_tracker.evaluation.benchmark.run import Summary, default_runs, run_benchmark
from ebm_tracker.evaluation.benchmark.serial import SerialEngine
from ebm_tracker.evaluation.benchmark.worklist import Display, Engine, Tally

__all__ = [
    "Display",
    "Engine",
    "Manifest",
    "ManifestError",
    "ProcessEngine",
    "SerialEngine",
    "Silent",
    "Summary",
    "Tally",
    "TrackerBuildError",
    "TrackerFactory",
    "default_runs",
    "open_display",
    "read_manifest",
    "run_benchmark",
]
