// The base of suites about records: a kind declared, records made and looked at in few words.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "testing/store_suite.h"

namespace holdfast::testing {

using Json = nlohmann::json;

class RecordSuite : public StoreSuite {
 protected:
  Kind Declare(const std::string& name, const std::string& rules = "{}") {
    return Must(store().Apply({}, ApplyKind{.name = name, .rules = rules}));
  }
  Record Make(const std::string& kind, const std::string& id, const std::string& data = "{}",
              std::optional<RecordKey> parent = {}) {
    return Must(store().Create(
        {}, CreateRecord{.kind = kind, .id = id, .data = data, .parent = std::move(parent)}));
  }
  /// The record, which must be there.
  Record Read(const std::string& kind, const std::string& id) {
    std::optional<Record> record = Must(store().GetRecord({}, {kind, id}));
    if (!record) throw std::runtime_error("the record is not there");
    return *record;
  }
  bool Exists(const std::string& kind, const std::string& id) {
    return Must(store().GetRecord({}, {kind, id})).has_value();
  }
  static Json Data(const Record& record) { return Json::parse(record.data); }
  Json DataOf(const std::string& kind, const std::string& id) { return Data(Read(kind, id)); }
  std::string StatusOf(const std::string& kind, const std::string& id) {
    return Read(kind, id).status;
  }
  Result<Record> MoveTo(const std::string& kind, const std::string& id, const std::string& to,
                        const std::string& data = "{}") {
    TransitionRecord move{{kind, id}, to};
    move.data = data;
    return store().Transition({}, std::move(move));
  }
  Result<Record> Run(const std::string& kind, const std::string& id, const std::string& action,
                     const std::string& params = "{}") {
    RunAction run{{kind, id}, action};
    run.params = params;
    return store().Run({}, std::move(run));
  }
  Result<Receipt> Commit(std::vector<Operation> operations, std::vector<Guard> guards = {}) {
    return store().Commit({}, {.guards = std::move(guards), .operations = std::move(operations)});
  }
  /// The audit entries of a target, oldest first.
  std::vector<AuditEntry> Trail(const std::string& target) {
    std::vector<AuditEntry> entries =
        Must(store().ListAudit({}, {.target = target, .limit = 1000})).items;
    return {entries.rbegin(), entries.rend()};
  }
};

}  // namespace holdfast::testing
