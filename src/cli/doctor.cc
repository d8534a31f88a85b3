// holdfast doctor: what is wrong with a store, and what to do about it.
#include "engine/postgres/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/result.h"
#include "cli/cli.h"
#include "engine/findings.h"
#include "engine/postgres/settings.h"
#include "engine/sqlite/doctor.h"

namespace holdfast::cli {
namespace {

using engine::Examination;
using engine::Finding;
using engine::Health;

constexpr std::string_view kFileScheme = "sqlite:";

Finding Named(std::string check, Finding finding) {
  finding.check = std::move(check);
  return finding;
}

/// Takes a lock that nothing else uses, and gives it back.
Result<void> TryWrite(Cli& cli, Store& store) {
  const std::string name = fmt::format("holdfast.doctor/{}", getpid());
  HF_ASSIGN_OR_RETURN(std::vector<LockGrant> grants,
                      store.Acquire(cli.MakeContext(),
                                    {.name = name, .owner = name, .ttl = std::chrono::seconds(1)}));
  HF_ASSIGN_OR_RETURN(LockGrant released,
                      store.Release(cli.MakeContext(), {name, grants.front().token}));
  (void)released;
  return {};
}

/// What only its process knows: of memory that there is none but this one's, of a server whether it
/// answers and writes. What is beneath a server is examined where it runs.
Result<Examination> ExamineByOpening(Cli& cli) {
  Examination examination{.store = cli.ShownStore(), .findings = {}};
  Result<std::unique_ptr<Store>> store = cli.Open();
  if (!store && store.error().code == ErrorCode::kInvalidArgument) {
    return std::unexpected(std::move(store).error());
  }
  if (examination.store == "memory:") {
    examination.findings.push_back(
        Named("durability", engine::Healthy("kept in this process, and gone with it: there is "
                                            "nothing to examine")));
    return examination;
  }
  auto server = [&](const Error& error) {
    return Named("server", engine::Broken(error.code, error.message,
                                          "see that the server runs, and what it logs"));
  };
  if (!store) {
    examination.findings.push_back(server(store.error()));
    return examination;
  }
  Result<StoreStats> stats = (*store)->GetStats(cli.MakeContext());
  Result<void> healthy = (*store)->CheckHealth();
  if (!stats || !healthy) {
    examination.findings.push_back(server(!stats ? stats.error() : healthy.error()));
    return examination;
  }
  if (Result<void> written = TryWrite(cli, **store); !written) {
    examination.findings.push_back(server(written.error()));
    return examination;
  }
  examination.findings.push_back(Named(
      "server", engine::Healthy(fmt::format("holdfast {} answers, and takes writes; for what is "
                                            "beneath it, examine its store where it runs",
                                            stats->version))));
  return examination;
}

Result<Examination> Examine(Cli& cli, const engine::ExamineOptions& options) {
  const std::string& url = cli.globals().store;
  if (engine::postgres::IsPostgresUrl(url)) {
    return engine::ExaminePostgres(url, options);
  }
  if (url.starts_with(kFileScheme) && url.size() > kFileScheme.size()) {
    return engine::ExamineSqlite(url.substr(kFileScheme.size()), options);
  }
  return ExamineByOpening(cli);
}

std::int64_t NumberOf(const Examination& examination, Health health) {
  return std::ranges::count(examination.findings, health, &Finding::health);
}

void PrintExaminationJson(const Examination& examination) {
  base::JsonWriter json;
  json.BeginObject();
  json.Field("store", examination.store);
  json.Key("findings");
  json.BeginArray();
  for (const Finding& finding : examination.findings) {
    json.BeginObject();
    json.Field("check", finding.check);
    json.Field("status", engine::NameOf(finding.health));
    json.Field("found", finding.found);
    if (!finding.advice.empty()) json.Field("advice", finding.advice);
    if (finding.health == Health::kFail) json.Field("code", InfoOf(finding.code).name);
    json.EndObject();
  }
  json.EndArray();
  for (Health health : {Health::kOk, Health::kWarn, Health::kFail}) {
    json.Field(engine::NameOf(health), NumberOf(examination, health));
  }
  json.EndObject();
  PrintJson(json);
}

void PrintExaminationTable(const Examination& examination) {
  Table table({{"CHECK"}, {"STATUS"}, {"FOUND"}});
  for (const Finding& finding : examination.findings) {
    table.AddRow(
        {finding.check, std::string(engine::NameOf(finding.health)), Printable(finding.found)});
    if (!finding.advice.empty()) table.AddRow({"", "", "-> " + Printable(finding.advice)});
  }
  table.Print();
  fmt::print("{} ok, {} warn, {} fail in {}\n", NumberOf(examination, Health::kOk),
             NumberOf(examination, Health::kWarn), NumberOf(examination, Health::kFail),
             Printable(examination.store));
}

/// The exit code is that of the first failure: what a program that opens the store is told.
Result<int> Doctor(Cli& cli, engine::ExamineOptions options) {
  if (cli.globals().timeout) options.statement_limit = *cli.globals().timeout;
  HF_ASSIGN_OR_RETURN(Examination examination, Examine(cli, options));
  if (cli.globals().output == OutputFormat::kJson) {
    PrintExaminationJson(examination);
  } else {
    PrintExaminationTable(examination);
  }
  auto failure = std::ranges::find(examination.findings, Health::kFail, &Finding::health);
  if (failure == examination.findings.end()) return 0;
  return InfoOf(failure->code).exit_code;
}

}  // namespace

void AddDoctorCommand(Cli& cli) {
  auto options = std::make_shared<engine::ExamineOptions>();
  CLI::App& command = cli.AddCommand(
      cli.root(), "doctor",
      "Examines a store, and says what to do about what it finds. Of a file or a server it tries "
      "a\n"
      "write, which leaves everything as it is.\n"
      "Exits with 0 unless a check fails: a warning is none. --timeout (10s) is for each check.",
      "holdfast doctor\n"
      "holdfast doctor --store postgres://holdfast@db.example/app\n"
      "holdfast doctor -o json | jq '.findings[] | select(.status != \"ok\")'",
      [&cli, options] { return Doctor(cli, *options); });
  cli.AddDuration(command, "--long-transaction", options->long_transaction,
                  "warn of transactions and snapshots that are open for so long (5m)");
}

}  // namespace holdfast::cli
