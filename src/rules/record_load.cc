// Which records, kinds and transfers a batch touches: what it names, their parents, and what their
// actions reach; and everything of JSON that came with it, parsed before any rule runs.
#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "rules/limits.h"
#include "rules/load.h"
#include "rules/record_rows.h"

namespace holdfast::rules {
namespace {

Result<void> AtOperation(Result<void> result, std::size_t index) {
  if (!result) result.error().detail.operation = static_cast<std::int64_t>(index);
  return result;
}

/// The JSON text that comes with an operation: what it is called, and what it must be. An empty
/// name: there is none.
struct ArgumentText {
  std::string_view name;
  std::string_view text;
  Json::value_t type = Json::value_t::object;
};

struct ArgumentOf {
  ArgumentText operator()(const CreateRecord& op) const { return {"data", op.data}; }
  ArgumentText operator()(const ReplaceRecord& op) const { return {"data", op.data}; }
  ArgumentText operator()(const MergeRecord& op) const { return {"patch", op.patch}; }
  ArgumentText operator()(const PatchRecord& op) const {
    return {"patch", op.patch, Json::value_t::array};
  }
  ArgumentText operator()(const AppendRecord& op) const {
    return {"value", op.value, Json::value_t::discarded};  // anything
  }
  ArgumentText operator()(const TransitionRecord& op) const { return {"data", op.data}; }
  ArgumentText operator()(const RunAction& op) const { return {"params", op.params}; }
  ArgumentText operator()(const auto&) const { return {}; }
};

Result<Json> ReadArgument(const ArgumentText& argument) {
  if (argument.text == "{}" && argument.type == Json::value_t::object) return Json::object();
  HF_ASSIGN_OR_RETURN(Json json, base::ParseJson(argument.name, argument.text));
  if (argument.type == Json::value_t::discarded || json.type() == argument.type) return json;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{} must be {}, not {}", argument.name,
                          base::TypeName(Json(argument.type)), base::TypeName(json)));
}

/// Spaces and the order of members make no other rules. How a number is written does: a default of
/// 1.0 is written into data as 1.0, which is no "integer".
bool IsSameText(std::string_view a, std::string_view b) {
  if (a == b) return true;
  Result<Json> first = base::ParseJson("rules", a);
  Result<Json> second = base::ParseJson("rules", b);
  return first && second && base::ToText(*first) == base::ToText(*second);
}

/// Loads rows by waves: a record may lead to its parent, an action to children.
class Gatherer {
 public:
  Gatherer(const Batch& batch, RecordLoader& loader, TouchedKeys& keys, Rows& rows,
           bool is_maintenance = false)
      : batch_(batch),
        is_maintenance_(is_maintenance),
        loader_(loader),
        keys_(keys),
        rows_(rows.records()),
        last_record_(rows.counters.last_record) {}

  Result<void> Gather() {
    for (std::size_t i = 0; i < batch_.operations.size(); ++i) {
      if (const auto* apply = std::get_if<ApplyKind>(&batch_.operations[i])) {
        HF_RETURN_IF_ERROR(AtOperation(Propose(*apply, i), i));
      }
    }
    for (const Guard& guard : batch_.guards) {
      std::visit(
          [&](const auto& g) {
            if constexpr (requires { g.record; }) Want(g.record);
          },
          guard);
    }
    for (const Operation& operation : batch_.operations) {
      HF_RETURN_IF_ERROR(std::visit([&](const auto& op) { return Name(op); }, operation));
    }
    HF_RETURN_IF_ERROR(LoadWanted());
    for (const Operation& operation : batch_.operations) {
      const auto* run = std::get_if<RunAction>(&operation);
      if (run != nullptr) HF_RETURN_IF_ERROR(Reach(*run));
    }
    HF_RETURN_IF_ERROR(LoadWanted());
    for (std::size_t i = 0; i < batch_.operations.size(); ++i) {
      const auto* create = std::get_if<CreateRecord>(&batch_.operations[i]);
      if (create != nullptr && create->id.empty()) HF_RETURN_IF_ERROR(ChooseId(create->kind, i));
    }
    return {};
  }

 private:
  void Want(const RecordKey& key) {
    if (!rows_.Has(key)) wanted_.push_back(key);
  }

  Result<void> Name(const RecordTarget& op) {
    Want({op.kind, op.id});
    return {};
  }
  Result<void> Name(const CreateRecord& op) {
    if (op.parent) Want(*op.parent);
    if (!op.id.empty()) Want({op.kind, op.id});
    return LoadKind(op.kind);
  }
  Result<void> Name(const MakeTransfer& op) {
    Want(op.from);
    Want(op.to);
    return {};
  }
  Result<void> Name(const PostTransfer& op) { return NameTransfer(op.id); }
  Result<void> Name(const VoidTransfer& op) { return NameTransfer(op.id); }
  template <typename T>
  requires OnJob<T> || OnLocks<T> || std::same_as<T, EnqueueJob> || std::same_as<T, SetQueue> ||
      std::same_as<T, ApplyKind>
          Result<void> Name(const T&) {
    return {};
  }

  Result<void> NameTransfer(TransferId id) {
    if (rows_.FindTransfer(id) != nullptr) return {};
    HF_ASSIGN_OR_RETURN(std::optional<Transfer> transfer, loader_.LoadTransfer(id));
    if (!transfer) return {};
    Want(transfer->from);
    Want(transfer->to);
    rows_.Add(*std::move(transfer));
    return {};
  }

  Result<void> LoadKind(const std::string& name) {
    if (rows_.HasKind(name)) return {};
    HF_ASSIGN_OR_RETURN(std::optional<RecordLoader::StoredKind> kind, loader_.LoadKind(name));
    rows_.AddKind(name, std::move(kind));
    return {};
  }

  /// In the canonical order, wave by wave.
  Result<void> LoadWanted() {
    while (!wanted_.empty()) {
      std::vector<RecordKey> wave;
      wave.swap(wanted_);
      SortUnique(wave);
      for (const RecordKey& key : wave) {
        if (rows_.Has(key)) continue;
        HF_RETURN_IF_ERROR(LoadKind(key.kind));
        HF_ASSIGN_OR_RETURN(std::optional<StoredRecord> record, loader_.LoadRecord(key));
        if (record && record->parent) Want(*record->parent);
        if (record) rows_.effort.Touch(record->text.size());
        if (!is_maintenance_) HF_RETURN_IF_ERROR(rows_.effort.Check());
        rows_.Add(key, std::move(record));
      }
    }
    return {};
  }

  /// A number that no record of the kind has, and none that this batch names.
  Result<void> ChooseId(const std::string& kind, std::size_t index) {
    while (true) {
      HF_ASSIGN_OR_RETURN(last_record_, loader_.NextId(kind, last_record_));
      RecordKey key{kind, fmt::to_string(last_record_)};
      if (rows_.Has(key)) continue;
      HF_ASSIGN_OR_RETURN(std::optional<StoredRecord> taken, loader_.LoadRecord(key));
      if (taken) continue;
      rows_.Add(key, std::nullopt);
      rows_.new_ids.emplace(index, std::move(key.id));
      return {};
    }
  }

  /// The rules under which the operations will run.
  const KindRules* RulesInForce(const std::string& kind) {
    for (auto& [index, proposal] : rows_.proposals) {
      if (proposal.rules->kind == kind) return proposal.rules.get();
    }
    return rows_.RulesOf(kind);
  }

  /// Children that the action changes, and jobs that it enqueues.
  Result<void> Reach(const RunAction& run) {
    const KindRules* rules = RulesInForce(run.kind);
    if (rules == nullptr) return {};
    auto found = rules->actions.find(run.action);
    if (found == rules->actions.end()) return {};
    for (const Step& step : found->second.steps) {
      if (step.operation == "job.enqueue") {
        ++keys_.inserts;
        auto queue = step.fields.find("queue");
        keys_.queues.push_back(queue == step.fields.end() ? std::string_view("default")
                                                          : queue->get_ref<const std::string&>());
      }
      if (step.on == Subject::kChildren) HF_RETURN_IF_ERROR(ReachChildren(run, step));
    }
    return {};
  }

  Result<void> ReachChildren(const RunAction& run, const Step& step) {
    HF_ASSIGN_OR_RETURN(std::vector<RecordKey> children,
                        loader_.FindChildren({run.kind, run.id}, step.child_kind, step.children,
                                             kActionChildren + 1));
    reached_ += children.size();
    if (reached_ > static_cast<std::size_t>(kActionChildren)) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("{} of {}/{}: the batch would change more than {} children",
                              run.action, run.kind, run.id, kActionChildren));
    }
    for (const RecordKey& child : children) Want(child);
    return {};
  }

  /// Compiles new rules, and holds every record of the kind against them.
  Result<void> Propose(const ApplyKind& apply, std::size_t index) {
    HF_RETURN_IF_ERROR(LoadKind(apply.name));
    KindRow& row = rows_.KindNamed(apply.name);
    if (row.kind && IsSameText(row.kind->rules, apply.rules)) return {};
    const std::int64_t version = row.kind ? row.kind->version + 1 : 1;
    Proposal proposal;
    HF_ASSIGN_OR_RETURN(proposal.rules, CompileRules(apply.name, version, apply.rules));
    if (row.kind) HF_RETURN_IF_ERROR(Examine(proposal));
    rows_.proposals.emplace(index, std::move(proposal));
    return {};
  }

  Result<void> Examine(Proposal& proposal) {
    constexpr int kPage = 1000;
    std::map<std::pair<std::string, std::string>, std::string> holders;
    std::string after;
    while (true) {
      HF_ASSIGN_OR_RETURN(std::vector<StoredRecord> page,
                          loader_.ScanRecords(proposal.rules->kind, after, kPage));
      if (page.empty()) return {};
      for (const StoredRecord& record : page) Examine(proposal, record, holders);
      after = page.back().key.id;
      if (loader_.caller != nullptr) HF_RETURN_IF_ERROR(loader_.caller->Check());
    }
  }

  static void Examine(Proposal& proposal, const StoredRecord& record,
                      std::map<std::pair<std::string, std::string>, std::string>& holders) {
    const KindRules& rules = *proposal.rules;
    auto complain = [&](std::string_view rule, std::string_view message) {
      if (proposal.violations.size() < kViolationsListed) {
        proposal.violations.push_back(
            fmt::format("{}: {}: {}", ToString(record.key), rule, message));
      }
    };
    std::int64_t complaints = 0;
    if (record.status.empty() == rules.HasStates() ||
        (rules.HasStates() && rules.FindState(record.status) == nullptr)) {
      complain("states", fmt::format("'{}' is not a declared status", record.status));
      ++complaints;
    }
    if (auto violation = CheckData(rules, record.data, record.reserved)) {
      complain(violation->rule, violation->message);
      ++complaints;
    }
    UniqueKeys keys = UniqueKeysOf(rules, record);
    for (const auto& key : keys) {
      auto [holder, is_new] = holders.emplace(key, record.key.id);
      if (is_new) continue;
      complain("unique " + key.first, fmt::format("{} has the same key", holder->second));
      ++complaints;
      ++proposal.doubled;
    }
    if (complaints > 0) ++proposal.broken;
    if (!keys.empty()) proposal.keys.emplace(record.key, std::move(keys));
  }

  const Batch& batch_;
  const bool is_maintenance_;  // what is due is not refused
  RecordLoader& loader_;
  TouchedKeys& keys_;
  RecordRows& rows_;
  std::int64_t& last_record_;
  std::vector<RecordKey> wanted_;
  std::size_t reached_ = 0;  // children, by actions
};

}  // namespace

bool TouchesRecords(const Batch& batch) {
  auto is_about_records = [](const Operation& operation) {
    return std::visit(
        []<typename T>(const T&) {
          return !(OnJob<T> || OnLocks<T> || std::same_as<T, EnqueueJob> ||
                   std::same_as<T, SetQueue>);
        },
        operation);
  };
  return std::ranges::any_of(batch.operations, is_about_records) ||
         std::ranges::any_of(batch.guards, [](const Guard& guard) {
           return std::visit([]<typename T>(const T&) { return !OnJob<T> && !OnLocks<T>; }, guard);
         });
}

Result<void> ReadArguments(const Batch& batch, Rows& rows) {
  for (std::size_t i = 0; i < batch.operations.size(); ++i) {
    ArgumentText argument = std::visit(ArgumentOf{}, batch.operations[i]);
    if (argument.name.empty()) continue;
    Result<Json> json = ReadArgument(argument);
    if (!json) {
      json.error().detail.operation = static_cast<std::int64_t>(i);
      return std::unexpected(std::move(json).error());
    }
    rows.records().arguments.emplace(i, *std::move(json));
  }
  return {};
}

Result<void> LoadRecordRows(const Batch& batch, RecordLoader& loader, TouchedKeys& keys,
                            Rows& rows) {
  return Gatherer(batch, loader, keys, rows).Gather();
}

Result<void> LoadDueRows(const std::vector<RecordKey>& records,
                         const std::vector<TransferId>& transfers, RecordLoader& loader,
                         TouchedKeys& keys, Rows& rows) {
  // What is due is what somebody would name who gave it up.
  Batch batch;
  for (TransferId id : transfers) batch.operations.emplace_back(VoidTransfer{id});
  for (const RecordKey& key : records) batch.guards.emplace_back(AbsentGuard{key});
  return Gatherer(batch, loader, keys, rows, true).Gather();
}

/// Where rules change in this batch, the engine's keys are those of the rules before.
static Result<std::optional<std::string>> FindHolder(
    RecordRows& records, RecordLoader& loader, const std::string& kind,
    const std::pair<std::string, std::string>& unique) {
  for (const auto& [index, proposal] : records.proposals) {
    if (proposal.rules->kind != kind) continue;
    for (const auto& [key, held] : proposal.keys) {
      if (held.contains(unique)) return key.id;
    }
    return std::nullopt;
  }
  return loader.FindKeyHolder(kind, unique.first, unique.second);
}

/// The detail names the holder only if it is a record that exists once this batch is taken back.
static ErrorDetail DetailOf(RecordRows& records, const RecordRow& row, const std::string& rule,
                            const RecordKey& holder) {
  ErrorDetail detail{.rule = "unique " + rule};
  auto found = records.records().find(holder);
  const bool existed = found == records.records().end() || found->second.existed;
  if (existed) detail.record = ToString(holder);
  if (row.operation >= 0) detail.operation = row.operation;
  return detail;
}

Result<void> CheckUniqueKeys(Rows& rows, RecordLoader& loader) {
  // Who holds a key at the end: rows of this batch first, then whatever the engine has.
  std::map<std::tuple<std::string, std::string, std::string>, const RecordRow*> taken;
  RecordRows& records = rows.records();
  for (auto& [key, row] : records.records()) {
    if (!row.is_changed || !row.exists) continue;
    const KindRules* rules = records.RulesOf(key.kind);
    if (rules == nullptr || rules->unique.empty()) continue;
    for (const auto& [rule, value] : UniqueKeysOf(*rules, row.record)) {
      std::optional<std::string> holder;
      auto [place, is_new] = taken.emplace(std::tuple(key.kind, rule, value), &row);
      if (!is_new) {
        holder = place->second->record.key.id;
      } else if (!row.keys_before.contains({rule, value})) {
        HF_ASSIGN_OR_RETURN(holder, FindHolder(records, loader, key.kind, {rule, value}));
        // The holder may give it up in this very batch.
        auto other = holder ? records.records().find({key.kind, *holder}) : records.records().end();
        if (other != records.records().end() && other->second.is_changed) holder.reset();
      }
      if (!holder || *holder == key.id) continue;
      return Fail(
          ErrorCode::kAlreadyExists,
          fmt::format("{} would have the same {} as {}/{}", ToString(key), rule, key.kind, *holder),
          DetailOf(records, row, rule, {key.kind, *holder}));
    }
  }
  return {};
}

}  // namespace holdfast::rules
