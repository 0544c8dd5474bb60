// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plugins/maisi/networks/unet_config.h"

// The blocks of the diffusion U-Nets and the ControlNet. `emb` is SiLU(embedding), (N, E) float32: every block needs it
// so. x may be of the compute type, or float32, and so is the result: on the way down nothing but sums happens to it,
// and in bfloat16 each of them would round what all before have added.

namespace medgen::maisi {

enum class Resample { None, Down, Up };

/// norm, SiLU, (resample), conv, + projected embedding, norm, SiLU, conv; around a shortcut that is resampled alike.
class DiffusionResBlock : public nn::Module {
 public:
  DiffusionResBlock(const UnetConfig& config, int64_t in, int64_t out, int64_t emb_dim,
                    Resample resample = Resample::None);

  at::Tensor forward(const at::Tensor& x, const at::Tensor& emb) const;

 private:
  at::Tensor resampled(const at::Tensor& x) const;
  at::Tensor shortcut(const at::Tensor& x) const;

  Resample resample_;
  nn::GroupNorm& norm1_;
  nn::Conv& conv1_;
  nn::Linear& time_emb_proj_;
  nn::GroupNorm& norm2_;
  nn::Conv& conv2_;
  nn::Conv* skip_connection_ = nullptr;
};

/// One level on the way down: residual blocks, attention, and a halving unless it is the last.
class DownBlock : public nn::Module {
 public:
  DownBlock(const UnetConfig& config, size_t level, int64_t emb_dim);

  /// Appends what the way up will need to `skips`.
  at::Tensor forward(at::Tensor x, const at::Tensor& emb, const at::Tensor& context,
                     std::vector<at::Tensor>& skips) const;

 private:
  at::Tensor unit(size_t i, const at::Tensor& x, const at::Tensor& emb, const at::Tensor& context) const;

  std::vector<nn::SpatialMixer*> attentions_;
  std::vector<DiffusionResBlock*> resnets_;
  nn::Conv* down_conv_ = nullptr;
  DiffusionResBlock* down_block_ = nullptr;
};

/// resnet, attention, resnet at the coarsest level.
class MiddleBlock : public nn::Module {
 public:
  MiddleBlock(const UnetConfig& config, int64_t emb_dim);

  at::Tensor forward(const at::Tensor& x, const at::Tensor& emb, const at::Tensor& context) const;

 private:
  DiffusionResBlock& resnet_1_;
  nn::SpatialMixer& attention_;
  DiffusionResBlock& resnet_2_;
};

/// One level on the way up, which takes its skips from the end of the list; a doubling unless it is the finest.
class UpBlock : public nn::Module {
 public:
  UpBlock(const UnetConfig& config, size_t level, int64_t emb_dim);

  at::Tensor forward(at::Tensor x, const at::Tensor& emb, const at::Tensor& context,
                     std::vector<at::Tensor>& skips) const;

 private:
  void add_resnets(const UnetConfig& config, size_t level, int64_t emb_dim);
  at::Tensor unit(size_t i, const at::Tensor& joined, const at::Tensor& emb, const at::Tensor& context) const;
  at::Tensor upsample(const at::Tensor& x, const at::Tensor& emb) const;

  std::vector<DiffusionResBlock*> resnets_;
  std::vector<nn::SpatialMixer*> attentions_;
  nn::Conv* up_conv_ = nullptr;
  DiffusionResBlock* up_block_ = nullptr;
};

/// Time, and class where the network has classes: (N) -> (N, time_dim) float32.
class TimeEmbedding {
 public:
  /// Adds time_embed and class_embedding to `owner`.
  TimeEmbedding(nn::Module& owner, const UnetConfig& config);

  /// @throws InvalidInput, naming `network`, when the shapes do not fit a batch of `batch`, or a class is unknown
  void check(std::string_view network, const at::Tensor& timesteps, const at::Tensor& class_labels,
             int64_t batch) const;

  /// Of inputs that were checked.
  at::Tensor forward(const at::Tensor& timesteps, const at::Tensor& class_labels, int64_t batch) const;

 private:
  int64_t frequencies_;
  nn::EmbeddingMlp& time_embed_;
  nn::Embedding* class_embedding_ = nullptr;
};

/// What goes down: x in float32, or with gradients, which double the maps to keep, in the compute type.
at::Tensor stream_of(const at::Tensor& x, at::ScalarType compute);

/// Adds down_blocks.0, down_blocks.1, ... to `owner`.
std::vector<DownBlock*> add_down_blocks(nn::Module& owner, const UnetConfig& config, int64_t emb_dim);

/// x and the context fit the network. @throws InvalidInput
void check_unet_inputs(std::string_view network, const UnetConfig& config, const at::Tensor& x,
                       const at::Tensor& context);

/// `vectors` (N or 1, width) as float32 for a batch of `batch`. @throws InvalidInput
at::Tensor batch_of_vectors(std::string_view network, std::string_view name, const at::Tensor& vectors, int64_t width,
                            int64_t batch);

}  // namespace medgen::maisi
