"""Workers find the faces of the process that runs the networks for them, and need no PyTorch."""

import pytest
import torch
from face_work import find

from dfdc_lib.backends.choice import Engine
from dfdc_lib.backends.remote import serve
from dfdc_lib.faces.mtcnn_networks import engine_of_workers, torch_runner
from dfdc_lib.processes import worker_pool

CPU, GPU = Engine("torch"), Engine("torch", "cuda")


@pytest.mark.parametrize(
    ("engine", "executor"),
    [(Engine(), "processes"), (CPU, "processes"), (GPU, "inline"), (GPU, "tcp://localhost:8786")],
)
def test_who_runs_the_networks_itself(engine: Engine, executor: str) -> None:
    with engine_of_workers(engine, executor) as chosen:
        assert chosen == engine


def test_workers_find_the_faces_of_the_process_that_serves_them() -> None:
    with serve(torch_runner("cpu")) as address, worker_pool(2) as pool:
        both = [pool.submit(find, CPU._replace(address=address)) for _ in range(2)]
        results = [future.result() for future in both]
    expected, _ = find(CPU)
    assert [len(faces) for faces in expected] == [1, 0]
    assert results == [(expected, False)] * 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_workers_use_the_gpu_of_their_parent() -> None:
    with engine_of_workers(GPU, "processes") as engine, worker_pool(2) as pool:
        faces, has_torch = pool.submit(find, engine).result()
    assert not has_torch
    [[face], []], [[expected], []] = faces, find(CPU)[0]
    assert face.box == pytest.approx(expected.box, abs=0.1)
