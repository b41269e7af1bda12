"""Find deepfakes in videos with one frame classifier, averaged well.

The numbered notebooks beside this package are the commands; the packages here do their work and follow the data:
data -> faces -> augmentation -> classifier -> evaluation -> inspection. `records` defines what passes between them,
`run_folder` where results lie, `staleness` when a result is out of date, `pipeline` runs the notebooks.
"""

__version__ = "0.1.0"
