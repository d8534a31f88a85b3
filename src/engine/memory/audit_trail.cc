#include "engine/memory/audit_trail.h"

namespace holdfast::engine {
namespace {

// In the order in which they are packed.
constexpr std::array kEntryTexts = {&AuditEntry::actor,      &AuditEntry::operation,
                                    &AuditEntry::target,     &AuditEntry::old_status,
                                    &AuditEntry::new_status, &AuditEntry::correlation_id,
                                    &AuditEntry::details,    &AuditEntry::error};
constexpr std::array kViewTexts = {
    &AuditView::actor,      &AuditView::operation,      &AuditView::target,  &AuditView::old_status,
    &AuditView::new_status, &AuditView::correlation_id, &AuditView::details, &AuditView::error};

}  // namespace

AuditEntry AuditView::ToEntry() const {
  AuditEntry entry{.sequence = sequence,
                   .at = at,
                   .old_version = old_version,
                   .new_version = new_version,
                   .token = token,
                   .lock_wait = lock_wait,
                   .commit = commit,
                   .count = count};
  for (std::size_t i = 0; i < kViewTexts.size(); ++i) entry.*kEntryTexts[i] = this->*kViewTexts[i];
  return entry;
}

void AuditTrail::Add(const AuditEntry& entry) {
  if (blocks_.empty() || blocks_.back().entries.size() == kBlock) {
    const std::size_t usual = blocks_.empty() ? 0 : blocks_.back().texts.size();
    Block& block = blocks_.emplace_back();
    block.entries.reserve(kBlock);
    block.texts.reserve(usual + usual / 8);
  }
  Block& block = blocks_.back();
  Packed& packed = block.entries.emplace_back();
  packed = {.sequence = entry.sequence,
            .at = entry.at,
            .old_version = entry.old_version,
            .new_version = entry.new_version,
            .token = entry.token,
            .lock_wait = entry.lock_wait,
            .commit = entry.commit,
            .count = entry.count,
            .begin = block.texts.size(),
            .lengths = {}};
  for (std::size_t i = 0; i < kTexts; ++i) {
    const std::string& text = entry.*kEntryTexts[i];
    packed.lengths[i] = static_cast<std::uint32_t>(text.size());
    block.texts += text;
  }
  ++size_;
}

AuditView AuditTrail::At(std::size_t index) const {
  const Block& block = blocks_[(index + gone_) / kBlock];
  const Packed& packed = block.entries[(index + gone_) % kBlock];
  AuditView view{.sequence = packed.sequence,
                 .at = packed.at,
                 .old_version = packed.old_version,
                 .new_version = packed.new_version,
                 .token = packed.token,
                 .lock_wait = packed.lock_wait,
                 .commit = packed.commit,
                 .count = packed.count};
  std::string_view texts = std::string_view(block.texts).substr(packed.begin);
  for (std::size_t i = 0; i < kTexts; ++i) {
    view.*kViewTexts[i] = texts.substr(0, packed.lengths[i]);
    texts.remove_prefix(packed.lengths[i]);
  }
  return view;
}

void AuditTrail::DropOldest() {
  --size_;
  if (++gone_ < kBlock && size_ > 0) return;
  blocks_.pop_front();
  gone_ = 0;
}

}  // namespace holdfast::engine
