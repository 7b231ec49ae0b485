//! candle's custom operations of one, two and three tensors under one trait.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, Result, Shape, Storage, Tensor, bail};

/// An operation of N tensors on the CPU.
pub(super) trait Operation<const N: usize>: Send + Sync + 'static {
    fn name(&self) -> &'static str;
    fn forward(&self, arguments: &[Tensor; N]) -> Result<(CpuStorage, Shape)>;
    /// The result alone, of arguments that ask for no gradient.
    fn untracked(&self, arguments: &[Tensor; N]) -> Result<Tensor>;
    fn gradients(&self, arguments: &[Tensor; N], out: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; N]>;
}

fn cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => bail!("expected tensors on one device, found some on the CPU and some elsewhere"),
    }
}

pub(super) struct One<C>(pub(super) C);

impl<C: CustomOp1 + Send + Sync + 'static> Operation<1> for One<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn forward(&self, [x]: &[Tensor; 1]) -> Result<(CpuStorage, Shape)> {
        let (x, xl) = x.storage_and_layout();
        self.0.cpu_fwd(cpu(&x)?, xl)
    }

    fn untracked(&self, [x]: &[Tensor; 1]) -> Result<Tensor> {
        x.apply_op1_no_bwd(&self.0)
    }

    fn gradients(&self, [x]: &[Tensor; 1], out: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 1]> {
        Ok([self.0.bwd(x, out, grad)?])
    }
}

pub(super) struct Two<C>(pub(super) C);

impl<C: CustomOp2 + Send + Sync + 'static> Operation<2> for Two<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn forward(&self, [x, y]: &[Tensor; 2]) -> Result<(CpuStorage, Shape)> {
        let ((x, xl), (y, yl)) = (x.storage_and_layout(), y.storage_and_layout());
        self.0.cpu_fwd(cpu(&x)?, xl, cpu(&y)?, yl)
    }

    fn untracked(&self, [x, y]: &[Tensor; 2]) -> Result<Tensor> {
        x.apply_op2_no_bwd(y, &self.0)
    }

    fn gradients(&self, [x, y]: &[Tensor; 2], out: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 2]> {
        Ok(self.0.bwd(x, y, out, grad)?.into())
    }
}

pub(super) struct Three<C>(pub(super) C);

impl<C: CustomOp3 + Send + Sync + 'static> Operation<3> for Three<C> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn forward(&self, [x, y, z]: &[Tensor; 3]) -> Result<(CpuStorage, Shape)> {
        let ((x, xl), (y, yl), (z, zl)) = (x.storage_and_layout(), y.storage_and_layout(), z.storage_and_layout());
        self.0.cpu_fwd(cpu(&x)?, xl, cpu(&y)?, yl, cpu(&z)?, zl)
    }

    fn untracked(&self, [x, y, z]: &[Tensor; 3]) -> Result<Tensor> {
        x.apply_op3_no_bwd(y, z, &self.0)
    }

    fn gradients(&self, [x, y, z]: &[Tensor; 3], out: &Tensor, grad: &Tensor) -> Result<[Option<Tensor>; 3]> {
        Ok(self.0.bwd(x, y, z, out, grad)?.into())
    }
}
