"""dfdc_lib: find deepfakes in videos, one frame classifier averaged well.

The numbered notebooks beside this package are the commands; the modules here do their work. `records` names the things that pass
between modules, `store` is the run folder they meet in. Imports point one way: records ← pure ← files ← torch ← stages, pipeline, cli.
"""

__version__ = "0.1.0"
