#include "image/layer_set.h"

#include <algorithm>

#include "oci/image_spec.h"
#include "snapshot/apply.h"

namespace davit::image {

LayerSet::LayerSet(Context const& context, std::vector<oci::Digest> diff_ids)
    : context_(&context),
      diff_ids_(std::move(diff_ids)),
      chain_ids_(oci::chain_ids(diff_ids_)),
      slots_(diff_ids_.size()) {}

Result<LayerSet> LayerSet::open(Context const& context, std::vector<oci::Digest> diff_ids) {
  LayerSet set(context, std::move(diff_ids));
  for (std::size_t i = 0; i < set.slots_.size(); ++i) {
    for (std::string const& id : {store::layer_id(set.diff_ids_[i]), store::chained_layer_id(set.chain_ids_[i])}) {
      auto found = TRY(context.store.pin_layer(id));
      if (!found) continue;
      set.slots_[i].record = std::move(found->first);
      set.slots_[i].pin = std::move(found->second);
      break;
    }
  }
  return set;
}

Result<void> LayerSet::complete_from_below(std::size_t index) {
  MadeLayer const& made = *slots_[index].made;
  std::vector<UniqueFd> opened;
  std::vector<int> below;  // top first
  for (std::size_t i = index; i-- > 0;) {
    if (slots_[i].made) {
      below.push_back(slots_[i].made->layer->fs());
    } else {
      UniqueFd fs = TRY(context_->store.open_layer(slots_[i].record->id));
      below.push_back(fs.get());
      opened.push_back(std::move(fs));
    }
  }
  for (std::string const& directory : made.implied_directories) {
    // Where no layer has it, it keeps what apply() gave it.
    TRY(snapshot::copy_directory_metadata(made.layer->fs(), directory, below));
  }
  made.layer->record.id = store::chained_layer_id(chain_ids_[index]);
  return {};
}

Result<std::vector<store::LayerRecord>> LayerSet::finish(store::Batch& batch) {
  std::vector<store::LayerRecord> records;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (slot.made) {
      if (!slot.made->implied_directories.empty()) TRY(complete_from_below(i));
      add_to_batch(batch, *slot.made);
      slot.record = slot.made->layer->record;
    }
    DAVIT_CHECK(slot.record.has_value());
    records.push_back(*slot.record);
  }
  return records;
}

void LayerSet::salvage(store::Batch& batch) const {
  for (Slot const& slot : slots_) {
    if (slot.made && slot.made->implied_directories.empty()) add_to_batch(batch, *slot.made);
  }
}

void add_to_batch(store::Batch& batch, MadeLayer const& made) {
  if (std::find(batch.layers.begin(), batch.layers.end(), made.layer) != batch.layers.end()) return;
  batch.layers.push_back(made.layer);
  if (made.blob) batch.blobs.push_back(*made.blob);
  if (made.form) batch.forms.push_back(*made.form);
}

}  // namespace davit::image
