// LayerSet: the layers of one image while it is put together: some are in the store already, the others are being made.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "image/context.h"

namespace davit::image {

class LayerSet {
 public:
  // Finds and pins what the store has.
  static Result<LayerSet> open(Context const& context, std::vector<oci::Digest> diff_ids);

  std::size_t size() const { return slots_.size(); }
  bool has(std::size_t index) const { return slots_[index].record.has_value() || slots_[index].made != nullptr; }
  oci::Digest const& diff_id(std::size_t index) const { return diff_ids_[index]; }
  // Different indexes may be set by different threads at once.
  void set(std::size_t index, std::shared_ptr<MadeLayer> made) { slots_[index].made = std::move(made); }

  // All layers are there: gives the implied directories of those that need it their metadata, and adds what was made to
  // the batch. Returns the records, bottom first.
  Result<std::vector<store::LayerRecord>> finish(store::Batch& batch);
  // Adds what was made so far and stands by itself, to be kept for the next attempt.
  void salvage(store::Batch& batch) const;

 private:
  struct Slot {
    std::optional<store::LayerRecord> record;
    store::Pin pin;
    std::shared_ptr<MadeLayer> made;
  };
  LayerSet(Context const& context, std::vector<oci::Digest> diff_ids);
  Result<void> complete_from_below(std::size_t index);

  Context const* context_;
  std::vector<oci::Digest> diff_ids_, chain_ids_;
  std::vector<Slot> slots_;
};

// Adds one made layer, once, with its blob and form.
void add_to_batch(store::Batch& batch, MadeLayer const& made);

}  // namespace davit::image
