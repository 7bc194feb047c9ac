"""The operations as compiled CPU loops. `minidl.operations` defines each of them."""

from minidl.cpu.activations import activation_backward, activation_forward
from minidl.cpu.batchnorm import batchnorm_backward, batchnorm_inference, batchnorm_training
from minidl.cpu.clipping import clip_values, max_norm, norm, scale_to_norm
from minidl.cpu.dense import column_sums, dense_backward_input, dense_backward_weight, dense_forward
from minidl.cpu.dropout import dropout
from minidl.cpu.elementwise import add, advance, copy_columns, gather_rows, mask_rows, scale_rows
from minidl.cpu.losses import (
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
from minidl.cpu.noise import gaussian_noise, row_dropout
from minidl.cpu.optimizers import (
    adam_advance,
    adam_update,
    momentum_update,
    nesterov_update,
    rmsprop_update,
    sgd_update,
)
from minidl.cpu.penalties import penalty_cost, penalty_gradient
from minidl.cpu.pooling import fractional_regions, max_pool_backward, max_pool_forward
from minidl.cpu.prelu import prelu_backward, prelu_forward
from minidl.cpu.weightnorm import centered_weight, centered_weight_backward
