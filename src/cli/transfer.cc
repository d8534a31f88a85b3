// holdfast transfer: amounts on their way from one record to another.
#include <fmt/format.h>

#include <memory>

#include "base/result.h"
#include "cli/cli.h"
#include "cli/commit.h"
#include "cli/paging.h"
#include "cli/record_key.h"
#include "wire/encode.h"

namespace holdfast::cli {

Result<RecordKey> ParseRecordKey(std::string_view text) {
  std::size_t slash = text.find('/');
  if (slash != std::string_view::npos && slash > 0 && slash + 1 < text.size()) {
    return RecordKey{std::string(text.substr(0, slash)), std::string(text.substr(slash + 1))};
  }
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not KIND/ID", Printable(text.substr(0, 300))));
}

Result<TransferId> ParseTransferId(std::string_view text) {
  auto id = base::ParseInteger(text);
  if (id && *id > 0) return *id;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not the id of a transfer: a whole number from 1",
                          Printable(text.substr(0, 64))));
}

namespace {

struct TransferOptions {
  MakeTransfer make;
  TransferId id = 0;
  std::optional<std::int64_t> amount;
  TransferFilter filter;
  std::optional<std::int64_t> limit;
  WriteOptions write;
};
using TransferOptionsPtr = std::shared_ptr<TransferOptions>;

Result<int> Change(Cli& cli, Operation operation, const WriteOptions& options) {
  HF_ASSIGN_OR_RETURN(OperationResult result, CommitOne(cli, std::move(operation), options));
  PrintTransfer(*result.transfer, cli.globals().output);
  return 0;
}

Result<int> Get(Cli& cli, const TransferOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  HF_ASSIGN_OR_RETURN(std::optional<Transfer> transfer,
                      store->GetTransfer(cli.MakeContext(), options->id));
  if (!transfer) {
    return Fail(ErrorCode::kNotFound, fmt::format("transfer {} does not exist", options->id));
  }
  PrintTransfer(*transfer, cli.globals().output);
  return 0;
}

Result<std::optional<TransferState>> ParseState(std::string_view text) {
  std::optional<TransferState> state = ParseTransferState(text);
  if (state) return state;
  return Fail(ErrorCode::kInvalidArgument, "must be pending, posted, voided or expired");
}

Result<int> List(Cli& cli, const TransferOptionsPtr& options) {
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open());
  std::vector<Transfer> transfers;
  auto list = [&](const TransferFilter& filter) {
    return store->ListTransfers(cli.MakeContext(), filter);
  };
  HF_ASSIGN_OR_RETURN(std::string cursor,
                      Collect(options->filter, options->limit.value_or(100), transfers, list));
  if (cli.globals().output == OutputFormat::kTable) {
    PrintTransfers(transfers);
    if (!cursor.empty()) fmt::print(stderr, "there are more: --limit N\n");
    return 0;
  }
  PrintList("items", transfers, cursor, wire::WriteTransfer);
  return 0;
}

void AddListCommand(Cli& cli, CLI::App& group, const TransferOptionsPtr& options) {
  CLI::App& list = cli.AddCommand(group, "list", "Lists transfers, oldest first.",
                                  "holdfast transfer list --state pending --from account/A-1",
                                  [&cli, options] { return List(cli, options); });
  cli.AddParsed(list, "--state", options->filter.state, &ParseState,
                "pending|posted|voided|expired", "in this state");
  cli.AddParsed(list, "--from", options->filter.from, &ParseRecordKey, "KIND/ID",
                "what this record gives");
  cli.AddNumber(list, "--limit", options->limit, 1, "at most so many (100)");
}

void AddId(Cli& cli, CLI::App& command, const TransferOptionsPtr& options) {
  cli.AddParsed(command, "ID", options->id, &ParseTransferId, "", "the transfer")->required();
}

void AddMakeCommand(Cli& cli, CLI::App& group, const TransferOptionsPtr& options) {
  CLI::App& make = cli.AddCommand(
      group, "make", "Moves an amount from a number of one record to the same of another.",
      "holdfast transfer make account/A-1 account/A-2 /balance 100\n"
      "holdfast transfer make account/A-1 account/shop /balance 100 --pending --expires-in 15m",
      [&cli, options] { return Change(cli, options->make, options->write); });
  cli.AddParsed(make, "FROM", options->make.from, &ParseRecordKey, "", "KIND/ID")->required();
  cli.AddParsed(make, "TO", options->make.to, &ParseRecordKey, "", "KIND/ID")->required();
  cli.AddText(make, "PATH", options->make.path, "", "JSON pointer to the number, in both records")
      ->required();
  cli.AddNumber(make, "AMOUNT", options->make.amount, 1, "how much")->required();
  auto* pending = make.add_flag("--pending", options->make.pending,
                                "only reserve it, until it is posted or voided");
  cli.AddDuration(make, "--expires-in", options->make.timeout,
                  "a pending one is given up after this long (never)")
      ->needs(pending);
  AddLockGuards(cli, make, options->write);
  AddWriteOptions(cli, make, options->write);
}

}  // namespace

void AddTransferCommands(Cli& cli) {
  CLI::App& group = cli.AddGroup(cli.root(), "transfer", "Moves amounts between records.");
  auto options = std::make_shared<TransferOptions>();
  AddMakeCommand(cli, group, options);

  CLI::App& post = cli.AddCommand(
      group, "post", "Moves the amount of a pending transfer, or a part of it.",
      "holdfast transfer post 7\n"
      "holdfast transfer post 7 --amount 60",
      [&cli, options] {
        return Change(cli, PostTransfer{options->id, options->amount}, options->write);
      });
  AddId(cli, post, options);
  cli.AddNumber(post, "--amount", options->amount, 1, "so much of it; the rest is free (all)");
  AddLockGuards(cli, post, options->write);
  AddWriteOptions(cli, post, options->write);

  CLI::App& give_up = cli.AddCommand(
      group, "void", "Gives a pending transfer up.", "holdfast transfer void 7",
      [&cli, options] { return Change(cli, VoidTransfer{options->id}, options->write); });
  AddId(cli, give_up, options);
  AddLockGuards(cli, give_up, options->write);
  AddWriteOptions(cli, give_up, options->write);

  CLI::App& get = cli.AddCommand(group, "get", "Shows one transfer.", "holdfast transfer get 7",
                                 [&cli, options] { return Get(cli, options); });
  AddId(cli, get, options);
  AddListCommand(cli, group, options);
}

}  // namespace holdfast::cli
