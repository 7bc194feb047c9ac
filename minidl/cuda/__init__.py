"""The operations as CUDA kernels, written in Python and compiled by Numba.

`minidl.operations` says what each operation computes. Here each is a kernel and a function that chooses the grid and
launches it. The first argument of the function is the launcher: `device.launch` runs the kernel on a GPU,
`emulator.launch` runs the same kernel on the CPU, one thread at a time. Gradients use no atomics: every sum has a fixed
order, so the same seed gives the same bits.
"""

from minidl.cuda.activations import activation_backward, activation_forward
from minidl.cuda.batchnorm import batchnorm_backward, batchnorm_inference, batchnorm_training
from minidl.cuda.clipping import clip_values, max_norm, norm, scale_to_norm
from minidl.cuda.dense import dense_backward_input, dense_backward_weight, dense_forward
from minidl.cuda.dropout import dropout
from minidl.cuda.elementwise import add, advance, copy_columns, gather_rows, mask_rows, scale_rows
from minidl.cuda.losses import (
    binary_cross_entropy_backward,
    binary_cross_entropy_forward,
    mean_loss,
    mean_squared_error_backward,
    mean_squared_error_forward,
    soft_cross_entropy_backward,
    soft_cross_entropy_forward,
    softmax,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from minidl.cuda.noise import gaussian_noise, row_dropout
from minidl.cuda.optimizers import (
    adam_advance,
    adam_update,
    momentum_update,
    nesterov_update,
    rmsprop_update,
    sgd_update,
)
from minidl.cuda.penalties import penalty_cost, penalty_gradient
from minidl.cuda.pooling import fractional_regions, max_pool_backward, max_pool_forward
from minidl.cuda.prelu import prelu_backward, prelu_forward
from minidl.cuda.reduce import column_sums
from minidl.cuda.weightnorm import centered_weight, centered_weight_backward
