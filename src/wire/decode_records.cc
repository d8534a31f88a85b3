// Answers about records, kinds and transfers; and the columns of a record's row.
#include <fmt/format.h>

#include "wire/answers.h"
#include "wire/decode.h"

namespace holdfast::wire {
namespace {

constexpr Field<RecordKey> kKeyFields[] = {
    {"kind", As<ReadText, &RecordKey::kind>, kRequired},
    {"id", As<ReadText, &RecordKey::id>, kRequired},
};

bool ReadKeyInAnswer(Value& value, RecordKey& out, Trouble& trouble) {
  return ReadFields<RecordKey>(value, kKeyFields, out, trouble, kLenient);
}

constexpr Field<Reservation> kReservationFields[] = {
    {"path", As<ReadText, &Reservation::path>, kRequired},
    {"amount", As<ReadInteger, &Reservation::amount>, kRequired},
};

bool ReadReservation(Value& value, Reservation& out, Trouble& trouble) {
  return ReadFields<Reservation>(value, kReservationFields, out, trouble, kLenient);
}

constexpr Field<ChildCount> kChildFields[] = {
    {"kind", As<ReadText, &ChildCount::kind>, kRequired},
    {"status", As<ReadText, &ChildCount::status>},
    {"count", As<ReadInteger, &ChildCount::count>, kRequired},
};

bool ReadChild(Value& value, ChildCount& out, Trouble& trouble) {
  return ReadFields<ChildCount>(value, kChildFields, out, trouble, kLenient);
}

constexpr Field<Record> kRecordFields[] = {
    {"kind", As<ReadText, &Record::kind>, kRequired},
    {"id", As<ReadText, &Record::id>, kRequired},
    {"version", As<ReadInteger, &Record::version>, kRequired},
    {"status", As<ReadText, &Record::status>},
    {"data", As<ReadRaw, &Record::data>},
    {"parent", As<ReadKeyInAnswer, &Record::parent>},
    {"created_at", As<ReadTime, &Record::created_at>, kRequired},
    {"updated_at", As<ReadTime, &Record::updated_at>, kRequired},
    {"updated_by", As<ReadText, &Record::updated_by>},
    {"expires_at", As<ReadTime, &Record::expires_at>},
    {"fence", As<ReadId, &Record::fence>},
    {"reserved", As<ReadList<ReadReservation, Reservation>, &Record::reserved>},
    {"children", As<ReadList<ReadChild, ChildCount>, &Record::children>},
};

constexpr Field<RecordPage> kRecordPageFields[] = {
    {"items", As<ReadList<ReadRecord, Record>, &RecordPage::items>, kRequired},
    {"next_cursor", As<ReadCursor, &RecordPage::next_cursor>},
};

constexpr Field<Kind> kKindFields[] = {
    {"name", As<ReadText, &Kind::name>, kRequired},
    {"version", As<ReadInteger, &Kind::version>, kRequired},
    {"rules", As<ReadRaw, &Kind::rules>, kRequired},
    {"updated_at", As<ReadTime, &Kind::updated_at>, kRequired},
    {"updated_by", As<ReadText, &Kind::updated_by>},
};

struct KindList {
  std::vector<Kind> items;
};
constexpr Field<KindList> kKindListFields[] = {
    {"items", As<ReadList<ReadKind, Kind>, &KindList::items>, kRequired},
};

bool ReadTransferState(Value& value, TransferState& out, Trouble& trouble) {
  std::string text;
  if (!ReadText(value, text, trouble)) return false;
  auto state = ParseTransferState(text);
  if (!state) return trouble.Say(fmt::format(": '{}' is not a transfer state", Clip(text, 64)));
  out = *state;
  return true;
}

constexpr Field<Transfer> kTransferFields[] = {
    {"id", As<ReadId, &Transfer::id>, kRequired},
    {"from", As<ReadKeyInAnswer, &Transfer::from>, kRequired},
    {"to", As<ReadKeyInAnswer, &Transfer::to>, kRequired},
    {"path", As<ReadText, &Transfer::path>, kRequired},
    {"amount", As<ReadInteger, &Transfer::amount>, kRequired},
    {"posted", As<ReadInteger, &Transfer::posted>, kRequired},
    {"state", As<ReadTransferState, &Transfer::state>, kRequired},
    {"created_at", As<ReadTime, &Transfer::created_at>, kRequired},
    {"expires_at", As<ReadTime, &Transfer::expires_at>},
    {"finished_at", As<ReadTime, &Transfer::finished_at>},
    {"created_by", As<ReadText, &Transfer::created_by>},
};

constexpr Field<TransferPage> kTransferPageFields[] = {
    {"items", As<ReadList<ReadTransfer, Transfer>, &TransferPage::items>, kRequired},
    {"next_cursor", As<ReadCursor, &TransferPage::next_cursor>},
};

}  // namespace

bool ReadRecord(Value& value, Record& out, Trouble& trouble) {
  return ReadFields<Record>(value, kRecordFields, out, trouble, kLenient);
}
bool ReadKind(Value& value, Kind& out, Trouble& trouble) {
  return ReadFields<Kind>(value, kKindFields, out, trouble, kLenient);
}
bool ReadTransfer(Value& value, Transfer& out, Trouble& trouble) {
  return ReadFields<Transfer>(value, kTransferFields, out, trouble, kLenient);
}

Result<Record> DecodeRecord(std::string_view text) {
  return DecodeAnswer<Record>(text, kRecordFields);
}
Result<RecordPage> DecodeRecordPage(std::string_view text) {
  return DecodeAnswer<RecordPage>(text, kRecordPageFields);
}
Result<Kind> DecodeKind(std::string_view text) {
  return DecodeAnswer<Kind>(text, kKindFields);
}
Result<std::vector<Kind>> DecodeKinds(std::string_view text) {
  auto list = DecodeAnswer<KindList>(text, kKindListFields);
  if (!list) return std::unexpected(std::move(list).error());
  return std::move(list->items);
}
Result<TransferPage> DecodeTransferPage(std::string_view text) {
  return DecodeAnswer<TransferPage>(text, kTransferPageFields);
}
Result<Transfer> DecodeTransfer(std::string_view text) {
  return DecodeAnswer<Transfer>(text, kTransferFields);
}

Result<std::vector<Reservation>> DecodeReservations(std::string_view text) {
  return DecodeColumn<ReadList<ReadReservation, Reservation>, std::vector<Reservation>>(
      text, "the stored reservations");
}
Result<std::vector<ChildCount>> DecodeChildren(std::string_view text) {
  return DecodeColumn<ReadList<ReadChild, ChildCount>, std::vector<ChildCount>>(
      text, "the stored counts of children");
}

}  // namespace holdfast::wire
