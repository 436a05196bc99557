"""The TorchScript operators that raymetrics runs: those of networks that classify and draw images.

An operator is in the table if it verifies sizes and indices itself, whatever its arguments, and
only computes: it touches no file, device, address, or setting of the process. A name stands for all
its overloads, including those that write into `out`, because torch saves some in-place operators
so; `name.overload` stands for that overload alone, and `name.` for the overload without a name.

These operators are excluded because they read or write out of bounds for unfitting arguments:
    aten::_weight_norm                      writes behind a short g, heap is damaged
    torchvision::*                          roi_align trusts the image's number in a box
    aten::native_batch_norm                 reads behind a short weight
    aten::view.dtype, set_, set_data        give other memory or another type to a tensor
    inductor::*, mkldnn::*, quantized::*, prims::*, aten::_* otherwise
                                            the inner half of an operator, whose outer half checks
    aten::upsample_* with factors apart from the size; `.vec` derives one from the other
Others are excluded because no network needs them to compute: files, threads, printing, seeds,
custom classes, sparse, quantized and nested tensors, gradients, linear algebra by LAPACK,
recurrent networks.
"""

from __future__ import annotations

_GROUPS = {
    # Values, branches, and calls; unchecked_cast has a check of its own.
    "prim": """
        Constant GetAttr SetAttr CallMethod CallFunction If Loop RaiseException Uninitialized
        ListConstruct ListUnpack TupleConstruct TupleUnpack TupleIndex TupleSlice DictConstruct
        unchecked_cast isinstance NumToTensor StringIndex
        device dtype layout type index requires_grad data abs max min itemsize nbytes
        is_cpu is_cuda is_meta is_mkldnn is_mps is_nested is_quantized is_sparse is_xla
    """,
    "aten": """
        conv1d conv2d conv3d convolution _convolution _convolution_mode
        conv_transpose1d conv_transpose2d conv_transpose3d
        linear bilinear matmul mm bmm mv dot addmm addmv addbmm baddbmm outer inner einsum tensordot
        embedding one_hot

        batch_norm instance_norm group_norm layer_norm rms_norm
        norm linalg_norm linalg_vector_norm cosine_similarity

        relu relu_ relu6 relu6_ leaky_relu leaky_relu_ prelu elu elu_ celu celu_ selu selu_
        gelu gelu_ silu silu_ mish mish_ glu softplus softshrink hardshrink hardtanh hardtanh_
        hardsigmoid hardsigmoid_ hardswish hardswish_ threshold threshold_
        sigmoid sigmoid_ tanh tanh_ log_sigmoid softmax log_softmax logsumexp
        special_expit special_erf

        scaled_dot_product_attention _native_multi_head_attention _transformer_encoder_layer_fwd

        avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        adaptive_max_pool1d adaptive_max_pool2d max_unpool2d

        upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec
        _upsample_nearest_exact1d.vec _upsample_nearest_exact2d.vec _upsample_nearest_exact3d.vec
        upsample_linear1d.vec upsample_bilinear2d.vec upsample_trilinear3d.vec
        upsample_bicubic2d.vec _upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec
        _upsample_lanczos2d_aa.vec
        affine_grid_generator grid_sampler grid_sampler_2d grid_sampler_3d
        pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col col2im
        pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d

        view. view_as reshape reshape_as flatten unflatten ravel permute transpose transpose_ t t_
        squeeze squeeze_ unsqueeze unsqueeze_ expand expand_as broadcast_to broadcast_tensors
        movedim moveaxis swapaxes swapdims numpy_T mT adjoint
        repeat repeat_interleave tile roll flip fliplr flipud rot90
        cat concat concatenate stack hstack vstack dstack column_stack
        split split_with_sizes chunk tensor_split unsafe_chunk unsafe_split
        unsafe_split_with_sizes unbind meshgrid unfold diagonal diag diag_embed tril triu
        tril_ triu_ tril_indices triu_indices block_diag atleast_1d atleast_2d atleast_3d
        view_as_real view_as_complex real imag conj resolve_conj resolve_neg
        contiguous clone detach detach_ alias data lift_fresh to type_as cpu cuda copy copy_

        select slice narrow index index_select index_put index_put_ index_add index_add_
        index_copy index_copy_ index_fill index_fill_ gather scatter scatter_ scatter_add
        scatter_add_ scatter_reduce scatter_reduce_ take take_along_dim masked_fill masked_fill_
        masked_scatter masked_scatter_ masked_select where nonzero nonzero_numpy argwhere
        select_scatter slice_scatter

        add add_ sub sub_ rsub mul mul_ div div_ true_divide floor_divide floor_divide_ remainder
        remainder_ fmod pow pow_ float_power square square_ sqrt sqrt_ rsqrt rsqrt_ exp exp_ exp2
        expm1 log log_ log1p log2 log10 sin sin_ cos cos_ tan asin acos atan atan2 sinh cosh
        asinh acosh atanh erf erfc erfinv sinc abs abs_ absolute neg neg_ negative sign sgn signbit
        positive reciprocal reciprocal_ floor floor_ ceil ceil_ round round_ trunc trunc_ frac
        clamp clamp_ clamp_min clamp_min_ clamp_max clamp_max_ clip clip_ maximum minimum fmax fmin
        lerp lerp_ addcmul addcmul_ addcdiv addcdiv_ hypot logaddexp nan_to_num nan_to_num_
        deg2rad rad2deg heaviside polar complex angle cumsum cumprod diff cross trace
        subtract multiply divide

        sum prod mean nanmean nansum var std var_mean std_mean median max min amax amin aminmax
        argmax argmin all any count_nonzero topk sort argsort kthvalue quantile cdist dist
        bincount histc

        eq eq_ ne ne_ lt lt_ le le_ gt gt_ ge ge_ equal isclose allclose isnan isinf isfinite
        greater greater_equal less less_equal not_equal
        logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not
        bitwise_xor __and__ __or__ __xor__ __lshift__ __rshift__ __iand__ __ior__

        zeros zeros_like ones ones_like full full_like empty empty_like new_zeros new_ones
        new_full new_empty scalar_tensor tensor as_tensor arange linspace logspace eye
        fill fill_ fill_diagonal_ zero zero_ hann_window hamming_window blackman_window

        rand rand_like randn randn_like randint randint_like randperm normal normal_ uniform_
        exponential_ bernoulli bernoulli_ multinomial random_ dropout dropout_ feature_dropout
        alpha_dropout native_dropout

        fft_fft fft_ifft fft_rfft fft_irfft fft_fft2 fft_ifft2 fft_rfft2 fft_irfft2 fft_fftn
        fft_ifftn fft_rfftn fft_irfftn fft_fftshift fft_ifftshift fft_fftfreq fft_rfftfreq

        size stride storage_offset dim numel len item element_size is_contiguous is_floating_point
        is_complex is_nonzero is_same_size _shape_as_tensor result_type promote_types can_cast
        is_scripting is_grad_enabled is_autocast_enabled is_autocast_cpu_enabled
        get_autocast_dtype has_torch_function get_device requires_grad_ warn
        Int Float Bool Complex IntImplicit FloatImplicit ComplexImplicit ScalarImplicit
        floordiv mathremainder divmod __round_to_zero_floordiv __range_length __derive_index
        __is__ __isnot__ __not__ __contains__ __getitem__ _set_item _unwrap_optional
        _infer_size broadcast_shapes gcd

        append extend insert pop remove reverse clear count list sorted
        dict keys values items get update setdefault popitem Delete
        format join strip lstrip rstrip lower upper startswith endswith replace find rfind
        str ord chr hex isdigit isalpha capitalize title splitlines
    """,
}
OPERATORS = frozenset(
    f"{namespace}::{name}" for namespace, names in _GROUPS.items() for name in names.split()
)
