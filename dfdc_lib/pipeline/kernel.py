"""The kernel that notebooks run in: this process's Python, not the one that is installed as "python3"."""

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec


class ThisPython(AsyncKernelManager):
    """Starts kernels with `sys.executable`; kernelspecs on JUPYTER_PATH are ignored."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """Return the kernel specification that starts ipykernel with `sys.executable`."""
        return KernelSpec(**get_kernel_dict())
