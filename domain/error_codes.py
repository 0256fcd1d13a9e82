"""Every error code the institution answers with: HTTP-free kind, title and advice, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ErrorKind(StrEnum):
    """The families of errors; each surface maps a family, not a code."""

    MALFORMED = "malformed"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    REFUSED = "refused"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    UNAVAILABLE = "unavailable"


class ErrorCode(StrEnum):
    """Stable codes. Add; never rename, never reuse."""

    # The request
    REQUEST_INVALID = "REQUEST_INVALID"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    TLS_REQUIRED = "TLS_REQUIRED"
    BODY_NOT_JSON = "BODY_NOT_JSON"
    ROUTE_NOT_FOUND = "ROUTE_NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    FORBIDDEN_CARD_DATA = "FORBIDDEN_CARD_DATA"
    IDEMPOTENCY_KEY_REQUIRED = "IDEMPOTENCY_KEY_REQUIRED"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    IDEMPOTENCY_IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"
    CURSOR_INVALID = "CURSOR_INVALID"
    # Who asks
    API_KEY_MISSING = "API_KEY_MISSING"
    API_KEY_INVALID = "API_KEY_INVALID"
    SCOPE_MISSING = "SCOPE_MISSING"
    MERCHANT_SUSPENDED = "MERCHANT_SUSPENDED"
    RATE_LIMITED = "RATE_LIMITED"
    # Signed instructions
    SIGNATURE_REQUIRED = "SIGNATURE_REQUIRED"
    SIGNATURE_INVALID = "SIGNATURE_INVALID"
    SIGNATURE_EXPIRED = "SIGNATURE_EXPIRED"
    SIGNATURE_REPLAYED = "SIGNATURE_REPLAYED"
    CONTENT_DIGEST_MISMATCH = "CONTENT_DIGEST_MISMATCH"
    SIGNING_KEY_UNKNOWN = "SIGNING_KEY_UNKNOWN"
    SIGNING_KEY_INVALID = "SIGNING_KEY_INVALID"
    SIGNING_KEY_EXISTS = "SIGNING_KEY_EXISTS"
    SIGNING_KEY_NOT_FOUND = "SIGNING_KEY_NOT_FOUND"
    SIGNING_KEYS_EXHAUSTED = "SIGNING_KEYS_EXHAUSTED"
    LAST_SIGNING_KEY = "LAST_SIGNING_KEY"
    # Not there
    USER_NOT_FOUND = "USER_NOT_FOUND"
    BINDING_NOT_FOUND = "BINDING_NOT_FOUND"
    PAYMENT_NOT_FOUND = "PAYMENT_NOT_FOUND"
    REFUND_NOT_FOUND = "REFUND_NOT_FOUND"
    EVENT_NOT_FOUND = "EVENT_NOT_FOUND"
    WEBHOOK_ENDPOINT_NOT_FOUND = "WEBHOOK_ENDPOINT_NOT_FOUND"
    WEBHOOK_DELIVERY_NOT_FOUND = "WEBHOOK_DELIVERY_NOT_FOUND"
    # Users and agreement
    MERCHANT_USER_EXISTS = "MERCHANT_USER_EXISTS"
    USER_NOT_ACTIVE = "USER_NOT_ACTIVE"
    REGION_NOT_SERVED = "REGION_NOT_SERVED"
    AGREEMENT_REQUIRED = "AGREEMENT_REQUIRED"
    AGREEMENT_VERSION_UNKNOWN = "AGREEMENT_VERSION_UNKNOWN"
    ACCEPTED_AT_INVALID = "ACCEPTED_AT_INVALID"
    UNDER_AGE = "UNDER_AGE"
    CAPACITY_STATEMENT_REQUIRED = "CAPACITY_STATEMENT_REQUIRED"
    PERSON_DIFFERS = "PERSON_DIFFERS"
    # Quick pay
    QUICKPAY_DATA_INCOMPLETE = "QUICKPAY_DATA_INCOMPLETE"
    QUICKPAY_DATA_INVALID = "QUICKPAY_DATA_INVALID"
    CARD_PREFIX_UNKNOWN = "CARD_PREFIX_UNKNOWN"
    PARTNER_NOT_AVAILABLE = "PARTNER_NOT_AVAILABLE"
    BINDING_EXISTS = "BINDING_EXISTS"
    BINDING_IN_PROGRESS = "BINDING_IN_PROGRESS"
    BINDING_NOT_OPEN = "BINDING_NOT_OPEN"
    BINDING_HAS_PENDING_PAYMENTS = "BINDING_HAS_PENDING_PAYMENTS"
    # Codes
    CODE_NOT_AWAITED = "CODE_NOT_AWAITED"
    CODE_WRONG = "CODE_WRONG"
    CODE_EXPIRED = "CODE_EXPIRED"
    CODE_ATTEMPTS_EXHAUSTED = "CODE_ATTEMPTS_EXHAUSTED"
    CODE_ATTEMPT_IN_PROGRESS = "CODE_ATTEMPT_IN_PROGRESS"
    CODE_RESEND_TOO_SOON = "CODE_RESEND_TOO_SOON"
    CODE_RESENDS_EXHAUSTED = "CODE_RESENDS_EXHAUSTED"
    # Payments
    CONFIRMATION_CHANGED = "CONFIRMATION_CHANGED"
    ORDER_ALREADY_PAID = "ORDER_ALREADY_PAID"
    ORDER_IN_PROGRESS = "ORDER_IN_PROGRESS"
    ORDER_EXPIRY_INVALID = "ORDER_EXPIRY_INVALID"
    CURRENCY_NOT_SUPPORTED = "CURRENCY_NOT_SUPPORTED"
    LIMIT_PER_TRANSACTION = "LIMIT_PER_TRANSACTION"
    LIMIT_PER_DAY = "LIMIT_PER_DAY"
    LIMIT_PER_MONTH = "LIMIT_PER_MONTH"
    FEE_EXCEEDS_AMOUNT = "FEE_EXCEEDS_AMOUNT"
    # Waiver of verification
    WAIVER_NOT_ENABLED = "WAIVER_NOT_ENABLED"
    WAIVER_VERSION_UNKNOWN = "WAIVER_VERSION_UNKNOWN"
    WAIVER_NOTICE_REQUIRED = "WAIVER_NOTICE_REQUIRED"
    WAIVER_APPLICATION_EXISTS = "WAIVER_APPLICATION_EXISTS"
    # Refunds
    PAYMENT_NOT_REFUNDABLE = "PAYMENT_NOT_REFUNDABLE"
    REFUND_EXCEEDS_PAYMENT = "REFUND_EXCEEDS_PAYMENT"
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    # Payees and payouts
    PAYEE_NOT_FOUND = "PAYEE_NOT_FOUND"
    PAYOUT_NOT_FOUND = "PAYOUT_NOT_FOUND"
    PAYEE_REGION_NOT_SERVED = "PAYEE_REGION_NOT_SERVED"
    PAYEE_DATA_INVALID = "PAYEE_DATA_INVALID"
    PAYEE_NAME_DIFFERS = "PAYEE_NAME_DIFFERS"
    PAYEE_EXISTS = "PAYEE_EXISTS"
    DATA_EXPORT_NOT_ALLOWED = "DATA_EXPORT_NOT_ALLOWED"
    SPEED_NOT_OFFERED = "SPEED_NOT_OFFERED"
    CONFIRMATION_NOT_AWAITED = "CONFIRMATION_NOT_AWAITED"
    CONFIRMATION_EXPIRED = "CONFIRMATION_EXPIRED"
    PAYEES_EXHAUSTED = "PAYEES_EXHAUSTED"
    PAYOUT_ORDER_EXISTS = "PAYOUT_ORDER_EXISTS"
    PAYOUT_BANK_WITHOUT_FUNDS = "PAYOUT_BANK_WITHOUT_FUNDS"
    EVIDENCE_NOT_ASKED = "EVIDENCE_NOT_ASKED"
    # Foreign currency
    IDENTITY_NOT_VERIFIED = "IDENTITY_NOT_VERIFIED"
    RESIDENCY_NOT_OF_USER = "RESIDENCY_NOT_OF_USER"
    RECEIVING_ACCOUNT_EXISTS = "RECEIVING_ACCOUNT_EXISTS"
    RECEIVING_ACCOUNT_NOT_FOUND = "RECEIVING_ACCOUNT_NOT_FOUND"
    INBOUND_NOT_FOUND = "INBOUND_NOT_FOUND"
    FX_MANDATE_EXISTS = "FX_MANDATE_EXISTS"
    FX_MANDATE_NOT_FOUND = "FX_MANDATE_NOT_FOUND"
    MANDATE_END_INVALID = "MANDATE_END_INVALID"
    FX_ORDER_EXISTS = "FX_ORDER_EXISTS"
    FX_NOT_FOUND = "FX_NOT_FOUND"
    FX_NOT_REFUSED = "FX_NOT_REFUSED"
    FX_WITHOUT_REMITTANCE = "FX_WITHOUT_REMITTANCE"
    FX_BANK_WITHOUT_FUNDS = "FX_BANK_WITHOUT_FUNDS"
    # Closing, disputes and what is kept
    ACCOUNT_CLOSING = "ACCOUNT_CLOSING"
    QUICK_PAY_CLOSING = "QUICK_PAY_CLOSING"
    CLOSURE_EXISTS = "CLOSURE_EXISTS"
    CLOSURE_NOT_FOUND = "CLOSURE_NOT_FOUND"
    CLOSURE_NOT_ANSWERED = "CLOSURE_NOT_ANSWERED"
    QUICK_PAY_NOT_OPEN = "QUICK_PAY_NOT_OPEN"
    IDENTITY_CHECK_INVALID = "IDENTITY_CHECK_INVALID"
    RECORDS_NOT_AWAITED = "RECORDS_NOT_AWAITED"
    ERASURE_NOT_ASKED = "ERASURE_NOT_ASKED"
    ERASURE_REPLIED = "ERASURE_REPLIED"
    DISPUTE_EXISTS = "DISPUTE_EXISTS"
    DISPUTE_NOT_FOUND = "DISPUTE_NOT_FOUND"
    DISPUTE_SUBJECT_NOT_FOUND = "DISPUTE_SUBJECT_NOT_FOUND"
    RETENTION_END_INVALID = "RETENTION_END_INVALID"
    # What stands in the way
    WITHDRAWN = "WITHDRAWN"
    FUNCTION_SUSPENDED = "FUNCTION_SUSPENDED"
    FUNDS_FROZEN = "FUNDS_FROZEN"
    AUTHORITY_HOLD = "AUTHORITY_HOLD"
    # Reports of users
    DISCOVERED_AT_INVALID = "DISCOVERED_AT_INVALID"
    # Bank callbacks
    CALLBACK_REJECTED = "CALLBACK_REJECTED"
    # Events and webhooks
    WEBHOOK_URL_NOT_ALLOWED = "WEBHOOK_URL_NOT_ALLOWED"
    WEBHOOK_ENDPOINTS_TOO_MANY = "WEBHOOK_ENDPOINTS_TOO_MANY"
    WEBHOOK_ENDPOINT_DISABLED = "WEBHOOK_ENDPOINT_DISABLED"
    REPLAY_TOO_LARGE = "REPLAY_TOO_LARGE"
    # Settlement to the merchant
    SETTLEMENT_NOT_FOUND = "SETTLEMENT_NOT_FOUND"
    # Operators: who asks
    LOGIN_FAILED = "LOGIN_FAILED"
    LOGIN_LOCKED = "LOGIN_LOCKED"
    SESSION_MISSING = "SESSION_MISSING"
    SESSION_INVALID = "SESSION_INVALID"
    CREDENTIALS_EXPIRED = "CREDENTIALS_EXPIRED"
    PERMISSION_MISSING = "PERMISSION_MISSING"
    TRAINING_EXPIRED = "TRAINING_EXPIRED"
    # Of operators, their credentials and roles
    PASSWORD_WRONG = "PASSWORD_WRONG"  # noqa: S105
    PASSWORD_TOO_WEAK = "PASSWORD_TOO_WEAK"  # noqa: S105
    ENROLMENT_INVALID = "ENROLMENT_INVALID"
    OPERATOR_EXISTS = "OPERATOR_EXISTS"
    OPERATOR_NOT_FOUND = "OPERATOR_NOT_FOUND"
    OPERATOR_IS_ONESELF = "OPERATOR_IS_ONESELF"
    OPERATOR_HAS_LEFT = "OPERATOR_HAS_LEFT"
    OPERATOR_STATE_DIFFERS = "OPERATOR_STATE_DIFFERS"
    ROLE_UNKNOWN = "ROLE_UNKNOWN"
    ROLES_INCOMPATIBLE = "ROLES_INCOMPATIBLE"
    TRAINING_END_INVALID = "TRAINING_END_INVALID"
    # Operators: what they look at and do
    INSTRUCTION_NOT_FOUND = "INSTRUCTION_NOT_FOUND"
    MERCHANT_NOT_FOUND = "MERCHANT_NOT_FOUND"
    KEY_NOT_FOUND = "KEY_NOT_FOUND"
    CONTRACT_END_INVALID = "CONTRACT_END_INVALID"
    BANK_NOT_TO_ASK = "BANK_NOT_TO_ASK"
    BANK_NOT_FOUND = "BANK_NOT_FOUND"
    REASON_HOLDS_PERSONAL_DATA = "REASON_HOLDS_PERSONAL_DATA"
    PERSONAL_DATA_NOT_FOUND = "PERSONAL_DATA_NOT_FOUND"
    # Operators: what they decide
    DECISION_NOT_FOUND = "DECISION_NOT_FOUND"
    DECISION_KIND_UNKNOWN = "DECISION_KIND_UNKNOWN"
    GROUND_UNKNOWN = "GROUND_UNKNOWN"
    SUBJECT_NOT_FOUND = "SUBJECT_NOT_FOUND"
    DECISION_PENDING = "DECISION_PENDING"
    DECISION_NOT_APPLICABLE = "DECISION_NOT_APPLICABLE"
    DECISION_DATE_INVALID = "DECISION_DATE_INVALID"
    DECISION_ENDED = "DECISION_ENDED"
    DECISION_EXPIRED = "DECISION_EXPIRED"
    SECOND_PERSON_REQUIRED = "SECOND_PERSON_REQUIRED"
    REQUESTER_NOT_PERMITTED = "REQUESTER_NOT_PERMITTED"
    ALREADY_SENT = "ALREADY_SENT"
    # Screening lists
    SCREENING_LIST_UNKNOWN = "SCREENING_LIST_UNKNOWN"
    # Reviews of payouts
    REVIEW_NOT_FOUND = "REVIEW_NOT_FOUND"
    REVIEW_ENDED = "REVIEW_ENDED"
    REVIEW_EXPIRED = "REVIEW_EXPIRED"
    REVIEW_TAKEN = "REVIEW_TAKEN"
    REVIEW_NOT_TAKEN = "REVIEW_NOT_TAKEN"
    REVIEW_NOT_EXTENDABLE = "REVIEW_NOT_EXTENDABLE"
    REVIEW_DATE_INVALID = "REVIEW_DATE_INVALID"
    SCREENING_NOT_CLEARED = "SCREENING_NOT_CLEARED"
    # Closing, deletion and what is retained
    RECEIVED_AT_INVALID = "RECEIVED_AT_INVALID"
    NOTHING_TO_DELETE = "NOTHING_TO_DELETE"
    IDENTITY_NOT_AWAITED = "IDENTITY_NOT_AWAITED"
    IDENTITY_DIFFERS = "IDENTITY_DIFFERS"
    IDENTITY_ATTEMPTS_EXHAUSTED = "IDENTITY_ATTEMPTS_EXHAUSTED"
    ORDER_NOT_IN_FORCE = "ORDER_NOT_IN_FORCE"
    # Settlement of merchants
    SETTLEMENT_NOT_PAYABLE = "SETTLEMENT_NOT_PAYABLE"
    SETTLEMENT_DATE_INVALID = "SETTLEMENT_DATE_INVALID"
    # Ours
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    BANK_NO_ANSWER = "BANK_NO_ANSWER"


@dataclass(frozen=True)
class ErrorText:
    """What a code means and what to do, for the one who reads it."""

    kind: ErrorKind
    title_en: str
    title_zh: str
    action_en: str
    action_zh: str


K = ErrorKind
C = ErrorCode

ERROR_TEXTS: dict[ErrorCode, ErrorText] = {
    C.REQUEST_INVALID: ErrorText(
        K.MALFORMED,
        "The request has wrong or missing fields",
        "请求字段有误或缺失",
        "Correct the fields listed in `errors`.",
        "请按 errors 所列修正字段。",
    ),
    C.REQUEST_TOO_LARGE: ErrorText(
        K.TOO_LARGE,
        "The request is too large",
        "请求内容过大",
        "Send a body under 64 KiB and headers under 16 KiB.",
        "请将请求体控制在 64 KiB 以内。",
    ),
    C.TLS_REQUIRED: ErrorText(
        K.FORBIDDEN,
        "The request came over an unencrypted line",
        "请求未经加密传输",
        "Use https://. Consider what you sent as disclosed.",
        "请使用 https://，并视已发送内容为泄露。",
    ),
    C.BODY_NOT_JSON: ErrorText(
        K.MALFORMED,
        "The body is not a JSON object",
        "请求体不是 JSON 对象",
        "Send `Content-Type: application/json` with one JSON object.",
        "请以 application/json 发送一个 JSON 对象。",
    ),
    C.ROUTE_NOT_FOUND: ErrorText(
        K.NOT_FOUND,
        "There is no such address",
        "地址不存在",
        "See the API document at /docs.",
        "请查阅 /docs 接口文档。",
    ),
    C.METHOD_NOT_ALLOWED: ErrorText(
        K.MALFORMED,
        "This address does not take that method",
        "该地址不支持此方法",
        "See the API document at /docs.",
        "请查阅 /docs 接口文档。",
    ),
    C.FORBIDDEN_CARD_DATA: ErrorText(
        K.REFUSED,
        "Card data that must never be sent was found",
        "包含禁止传输的卡片敏感数据",
        "Never send track data, CVN, card expiry or card password. Nothing of the request was kept.",
        "切勿传送磁道、CVN、有效期或银行卡密码；本请求内容未予保存。",
    ),
    C.IDEMPOTENCY_KEY_REQUIRED: ErrorText(
        K.MALFORMED,
        "The Idempotency-Key header is missing or malformed",
        "缺少或错误的 Idempotency-Key",
        "Send 8 to 64 characters of [A-Za-z0-9_-], one key per intended effect.",
        "请为每个操作提供 8–64 位的幂等键。",
    ),
    C.IDEMPOTENCY_KEY_REUSED: ErrorText(
        K.CONFLICT,
        "This Idempotency-Key was used for another request",
        "幂等键已用于其他请求",
        "Use a new key for a new request; send the same body to see the first answer again.",
        "新请求请使用新的幂等键。",
    ),
    C.IDEMPOTENCY_IN_PROGRESS: ErrorText(
        K.CONFLICT,
        "The first request with this key is still being handled",
        "同一幂等键的请求正在处理中",
        "Repeat the same request after Retry-After seconds.",
        "请在 Retry-After 秒后以相同内容重试。",
    ),
    C.CURSOR_INVALID: ErrorText(
        K.MALFORMED,
        "The cursor is not one of ours",
        "分页游标无效",
        "Use `next_cursor` of the previous page, unchanged.",
        "请原样使用上一页返回的 next_cursor。",
    ),
    C.API_KEY_MISSING: ErrorText(
        K.UNAUTHENTICATED,
        "No API key was sent",
        "未提供 API 密钥",
        "Send `Authorization: Bearer <key>`.",
        "请在 Authorization 头中提供密钥。",
    ),
    C.API_KEY_INVALID: ErrorText(
        K.UNAUTHENTICATED,
        "The API key is not valid",
        "API 密钥无效",
        "Check the key; it may have been revoked or have expired.",
        "请检查密钥是否已吊销或过期。",
    ),
    C.SCOPE_MISSING: ErrorText(
        K.FORBIDDEN,
        "The API key may not do this",
        "API 密钥权限不足",
        "Use a key with the scope named in `detail`.",
        "请使用具备相应权限的密钥。",
    ),
    C.MERCHANT_SUSPENDED: ErrorText(
        K.REFUSED,
        "The merchant is suspended",
        "商户已暂停服务",
        "New instructions are refused; existing ones are finished. Contact the institution.",
        "新指令不予受理，已受理的将继续处理，请联系本机构。",
    ),
    C.RATE_LIMITED: ErrorText(
        K.TOO_MANY,
        "Too many requests",
        "请求过于频繁",
        "Wait Retry-After seconds; the RateLimit headers say what is left.",
        "请等待 Retry-After 秒；剩余额度见 RateLimit 头。",
    ),
    C.SIGNATURE_REQUIRED: ErrorText(
        K.UNAUTHENTICATED,
        "This instruction must be signed",
        "该指令必须签名",
        "Sign the request with a registered key (docs/merchants/signing.md).",
        "请使用已登记的密钥签名（见 docs/merchants/signing.md）。",
    ),
    C.SIGNATURE_INVALID: ErrorText(
        K.UNAUTHENTICATED,
        "The signature does not fit the request",
        "签名与请求不符",
        "Sign exactly what is sent, with the components and parameters of the profile.",
        "请按签名规范对实际发送的内容签名。",
    ),
    C.SIGNATURE_EXPIRED: ErrorText(
        K.UNAUTHENTICATED,
        "The signature was made too long ago or in the future",
        "签名时间超出允许范围",
        "Set your clock, and sign anew: `created` may differ by 300 seconds.",
        "请校准时钟并重新签名，created 允许偏差 300 秒。",
    ),
    C.SIGNATURE_REPLAYED: ErrorText(
        K.UNAUTHENTICATED,
        "The nonce of this signature was used before",
        "该签名的 nonce 已被使用",
        "Sign each attempt anew, with a fresh nonce; a repetition keeps its Idempotency-Key.",
        "每次发送请使用新的 nonce 重新签名；重试沿用原幂等键。",
    ),
    C.CONTENT_DIGEST_MISMATCH: ErrorText(
        K.MALFORMED,
        "Content-Digest is not that of the body",
        "Content-Digest 与请求体不符",
        "Compute it over the bytes that are sent.",
        "请对实际发送的字节计算摘要。",
    ),
    C.SIGNING_KEY_UNKNOWN: ErrorText(
        K.UNAUTHENTICATED,
        "The signing key is not one of yours in use",
        "签名密钥未登记或已停用",
        "Use a key that GET /v1/signing_keys lists and that has not ended.",
        "请使用 GET /v1/signing_keys 所列的有效密钥。",
    ),
    C.SIGNING_KEY_INVALID: ErrorText(
        K.MALFORMED,
        "The public key is not fit to sign with",
        "公钥不符合要求",
        "Register an Ed25519 key (PEM, or 32 bytes in base64) or a P-256 key (PEM). Never send the private key.",
        "请登记 Ed25519（PEM 或 32 字节的 base64）或 P-256（PEM）公钥，切勿发送私钥。",
    ),
    C.SIGNING_KEY_EXISTS: ErrorText(
        K.CONFLICT,
        "This public key was registered before",
        "该公钥已登记",
        "See the key named in `subject_id`; one that has ended does not come back.",
        "请查看 subject_id 所示密钥；已停用的不可恢复。",
    ),
    C.SIGNING_KEY_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such signing key", "签名密钥不存在", "Check the key id.", "请检查密钥编号。"
    ),
    C.SIGNING_KEYS_EXHAUSTED: ErrorText(
        K.CONFLICT,
        "Five signing keys are registered already",
        "签名密钥已达五个",
        "Revoke one that is no longer used first.",
        "请先停用不再使用的密钥。",
    ),
    C.LAST_SIGNING_KEY: ErrorText(
        K.CONFLICT,
        "It is the last signing key in use",
        "这是最后一个有效的签名密钥",
        "Register another one first; only the institution ends the last one.",
        "请先登记新密钥；最后一个密钥仅可由本机构停用。",
    ),
    C.USER_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such user", "用户不存在", "Check the user id.", "请检查用户编号。"
    ),
    C.BINDING_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such binding", "绑卡记录不存在", "Check the binding id.", "请检查绑卡编号。"
    ),
    C.PAYMENT_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such payment", "支付不存在", "Check the payment id.", "请检查支付编号。"
    ),
    C.REFUND_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such refund", "退款不存在", "Check the refund id.", "请检查退款编号。"
    ),
    C.MERCHANT_USER_EXISTS: ErrorText(
        K.CONFLICT,
        "This merchant user is already registered",
        "该商户用户已注册",
        "Use the existing user named in `subject_id`.",
        "请使用 subject_id 所示的已有用户。",
    ),
    C.USER_NOT_ACTIVE: ErrorText(
        K.REFUSED, "The user is not active", "用户状态不可用", "Contact the institution.", "请联系本机构。"
    ),
    C.REGION_NOT_SERVED: ErrorText(
        K.REFUSED,
        "The service is not offered in this region",
        "该国家或地区不提供服务",
        "The service must not be used there.",
        "该地区不得使用本服务。",
    ),
    C.AGREEMENT_REQUIRED: ErrorText(
        K.REFUSED,
        "The user has not accepted the agreement in force",
        "用户尚未接受现行协议",
        "Show the agreement and record the user's acceptance first.",
        "请先展示协议并登记用户的同意。",
    ),
    C.AGREEMENT_VERSION_UNKNOWN: ErrorText(
        K.REFUSED,
        "This agreement version is not in force",
        "该协议版本不在有效期",
        "Accept the version and hash given by GET /v1/agreement.",
        "请以 GET /v1/agreement 返回的版本与哈希为准。",
    ),
    C.ACCEPTED_AT_INVALID: ErrorText(
        K.REFUSED,
        "The time of acceptance is in the future or too long ago",
        "同意时间无效",
        "Send the time at which the user acted, within the last 24 hours.",
        "请提供最近 24 小时内用户实际操作的时间。",
    ),
    C.UNDER_AGE: ErrorText(
        K.REFUSED,
        "The person is under 16",
        "未满十六周岁",
        "The service starts at the 16th birthday.",
        "年满十六周岁后方可使用。",
    ),
    C.CAPACITY_STATEMENT_REQUIRED: ErrorText(
        K.REFUSED,
        "A person of 16 or 17 needs a recorded capacity statement",
        "十六、十七周岁须登记劳动收入声明",
        "Record the statement that own labour income is the main living first.",
        "请先登记以本人劳动收入为主要生活来源的声明。",
    ),
    C.PERSON_DIFFERS: ErrorText(
        K.REFUSED,
        "The card belongs to another person than the user",
        "持卡人与用户身份不一致",
        "A user binds only cards in the user's own name.",
        "用户仅可绑定本人名下的银行卡。",
    ),
    C.QUICKPAY_DATA_INCOMPLETE: ErrorText(
        K.REFUSED,
        "Quick pay needs name, ID number, card number and reserved mobile",
        "快捷支付四要素不完整",
        "Send all four elements; other services are not affected.",
        "请提供姓名、身份证号、银行卡号和预留手机号。",
    ),
    C.QUICKPAY_DATA_INVALID: ErrorText(
        K.REFUSED,
        "One of the four elements is wrong",
        "四要素有误",
        "Correct the fields listed in `errors`.",
        "请按 errors 所列修正。",
    ),
    C.CARD_PREFIX_UNKNOWN: ErrorText(
        K.REFUSED,
        "No connected bank issues this card",
        "暂不支持该发卡银行",
        "Ask for a card of a supported bank.",
        "请更换支持的银行卡。",
    ),
    C.PARTNER_NOT_AVAILABLE: ErrorText(
        K.REFUSED,
        "The bank is not registered or is switched off",
        "合作银行未启用",
        "Try another card or later.",
        "请更换银行卡或稍后再试。",
    ),
    C.BINDING_EXISTS: ErrorText(
        K.CONFLICT,
        "The card is already bound",
        "该卡已绑定",
        "Use the binding named in `subject_id`.",
        "请使用已有绑卡。",
    ),
    C.BINDING_IN_PROGRESS: ErrorText(
        K.CONFLICT,
        "An application for this card is under way",
        "该卡绑定申请正在处理",
        "Finish the application named in `subject_id`, or wait until it ends.",
        "请完成或等待已有申请结束。",
    ),
    C.BINDING_NOT_OPEN: ErrorText(
        K.REFUSED, "The binding is not open", "绑卡不可用", "Bind the card first.", "请先完成绑卡。"
    ),
    C.BINDING_HAS_PENDING_PAYMENTS: ErrorText(
        K.CONFLICT,
        "Payments on this binding are not final",
        "该卡尚有未完结支付",
        "Wait until they are final, then unbind.",
        "请待支付完结后再解绑。",
    ),
    C.CODE_NOT_AWAITED: ErrorText(
        K.CONFLICT,
        "No code is awaited now",
        "当前无需验证码",
        "Read the resource and act on its state.",
        "请查询最新状态。",
    ),
    C.CODE_WRONG: ErrorText(
        K.REFUSED,
        "The code is wrong",
        "验证码错误",
        "Let the user try again while attempts are left.",
        "请重新输入验证码。",
    ),
    C.CODE_EXPIRED: ErrorText(
        K.REFUSED, "The code has expired", "验证码已过期", "Ask for a new code.", "请重新获取验证码。"
    ),
    C.CODE_ATTEMPTS_EXHAUSTED: ErrorText(
        K.REFUSED, "Too many wrong codes", "验证码错误次数过多", "Start again.", "请重新发起。"
    ),
    C.CODE_ATTEMPT_IN_PROGRESS: ErrorText(
        K.CONFLICT,
        "The previous code is still being checked",
        "上一个验证码正在核验",
        "Read the resource after Retry-After seconds.",
        "请稍后查询状态。",
    ),
    C.CODE_RESEND_TOO_SOON: ErrorText(
        K.TOO_MANY,
        "A code was sent a moment ago",
        "验证码发送过于频繁",
        "Wait Retry-After seconds.",
        "请稍后再试。",
    ),
    C.CODE_RESENDS_EXHAUSTED: ErrorText(
        K.REFUSED,
        "No more codes are sent for this request",
        "验证码发送次数已达上限",
        "Start again.",
        "请重新发起。",
    ),
    C.CONFIRMATION_CHANGED: ErrorText(
        K.CONFLICT,
        "What the user confirmed is not what was sent",
        "订单内容与用户确认的不一致",
        "Preview again, show it, and send its confirmation_hash.",
        "请重新预览并由用户确认。",
    ),
    C.ORDER_ALREADY_PAID: ErrorText(
        K.CONFLICT,
        "This order is paid",
        "订单已支付",
        "See the payment named in `subject_id`.",
        "请查看已有支付。",
    ),
    C.ORDER_IN_PROGRESS: ErrorText(
        K.CONFLICT,
        "A payment of this order is under way",
        "订单支付处理中",
        "Wait for the payment named in `subject_id`.",
        "请等待已有支付完结。",
    ),
    C.ORDER_EXPIRY_INVALID: ErrorText(
        K.REFUSED,
        "The order's expiry is past or too far away",
        "订单过期时间无效",
        "Send an expiry between one minute and 24 hours from now.",
        "请提供 1 分钟至 24 小时内的过期时间。",
    ),
    C.CURRENCY_NOT_SUPPORTED: ErrorText(
        K.REFUSED,
        "This currency is not taken for this payment or destination",
        "不支持该币种",
        "Use CNY for payments, and for a payout a currency that its payee lists.",
        "支付请使用人民币；付款请使用收款人所列币种。",
    ),
    C.LIMIT_PER_TRANSACTION: ErrorText(
        K.REFUSED,
        "The amount is over the limit of one transaction",
        "超过单笔限额",
        "Ask for a smaller amount; GET /v1/users/{id}/limits shows the limits.",
        "请降低金额。",
    ),
    C.LIMIT_PER_DAY: ErrorText(
        K.REFUSED,
        "The amount is over what is left of the day's limit",
        "超过当日限额",
        "Try tomorrow or a smaller amount.",
        "请降低金额或次日再试。",
    ),
    C.LIMIT_PER_MONTH: ErrorText(
        K.REFUSED,
        "The amount is over what is left of the month's limit",
        "超过当月限额",
        "Try next month or a smaller amount.",
        "请降低金额或下月再试。",
    ),
    C.FEE_EXCEEDS_AMOUNT: ErrorText(
        K.REFUSED,
        "The fee is not smaller than the amount",
        "手续费不低于支付金额",
        "Ask for a larger amount.",
        "请提高金额。",
    ),
    C.WAIVER_NOT_ENABLED: ErrorText(
        K.REFUSED,
        "Verification-free payment is not enabled for the merchant",
        "商户未开通免验证支付",
        "Apply for it and wait for approval.",
        "请先申请开通。",
    ),
    C.WAIVER_VERSION_UNKNOWN: ErrorText(
        K.REFUSED,
        "This waiver version is not the one in force",
        "免验证版本已更新",
        "Show and record the version given by GET /v1/waiver.",
        "请以 GET /v1/waiver 的版本为准。",
    ),
    C.WAIVER_NOTICE_REQUIRED: ErrorText(
        K.REFUSED,
        "The first-use risk notice was not recorded",
        "未登记首次使用风险提示",
        "Show the notice to the user and record it, then repeat.",
        "请先向用户展示风险提示并登记。",
    ),
    C.WAIVER_APPLICATION_EXISTS: ErrorText(
        K.CONFLICT,
        "An application is waiting for a decision",
        "申请审批中",
        "Wait for the decision.",
        "请等待审批。",
    ),
    C.PAYMENT_NOT_REFUNDABLE: ErrorText(
        K.CONFLICT,
        "The payment has not succeeded, so there is nothing to refund",
        "支付未成功，不可退款",
        "Wait until it is `succeeded`.",
        "请待支付成功后再退款。",
    ),
    C.REFUND_EXCEEDS_PAYMENT: ErrorText(
        K.REFUSED,
        "More than what is left of the payment",
        "退款超过可退金额",
        "Refund at most `refundable_minor` of the payment.",
        "退款不得超过剩余可退金额。",
    ),
    C.INSUFFICIENT_FUNDS: ErrorText(
        K.REFUSED,
        "The account that the money would come from does not hold enough",
        "账户余额不足",
        "Wait for more available funds, then ask again with a new key. A payout takes its fee besides the amount.",
        "请待可用余额充足后，以新的幂等键重试；付款另需覆盖手续费。",
    ),
    C.PAYEE_NOT_FOUND: ErrorText(
        K.NOT_FOUND,
        "There is no such payee, or it was removed",
        "收款人不存在或已删除",
        "Check the payee id; name the account anew if it was removed.",
        "请检查收款人编号；已删除的请重新登记。",
    ),
    C.PAYOUT_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such payout", "付款不存在", "Check the payout id.", "请检查付款编号。"
    ),
    C.PAYEE_REGION_NOT_SERVED: ErrorText(
        K.REFUSED,
        "Payouts go to mainland China, Hong Kong, Macao and Taiwan",
        "仅支持付款至中国内地、香港、澳门和台湾",
        "Use an account in CN, HK, MO or TW.",
        "请使用上述地区的银行账户。",
    ),
    C.PAYEE_DATA_INVALID: ErrorText(
        K.REFUSED,
        "The payee's account cannot be right",
        "收款人信息有误",
        "Correct the fields listed in `errors`.",
        "请按 errors 所列修正。",
    ),
    C.PAYEE_NAME_DIFFERS: ErrorText(
        K.REFUSED,
        "The account has to be in the user's own verified name",
        "账户户名须为用户本人实名",
        "Use the user's verified name and own account, and let the user bind a card first if none is bound.",
        "请使用用户本人实名及本人账户；未绑卡的请先绑卡完成实名。",
    ),
    C.PAYEE_EXISTS: ErrorText(
        K.CONFLICT,
        "This account is a payee of the user already",
        "该账户已登记为收款人",
        "Use the payee named in `subject_id`.",
        "请使用已登记的收款人。",
    ),
    C.DATA_EXPORT_NOT_ALLOWED: ErrorText(
        K.REFUSED,
        "The payee's data may not go abroad",
        "收款人信息不得出境",
        "Show the user the text of GET /v1/data_export and record a `data_export` consent to its version.",
        "请向用户展示 GET /v1/data_export 的文本并登记 data_export 同意。",
    ),
    C.SPEED_NOT_OFFERED: ErrorText(
        K.REFUSED,
        "This destination does not offer this speed",
        "该目的地不支持此到账时效",
        "Choose one of the speeds that the payee lists.",
        "请选择收款人所列的到账时效。",
    ),
    C.CONFIRMATION_NOT_AWAITED: ErrorText(
        K.CONFLICT,
        "The payout does not wait for a confirmation",
        "该付款无需确认或已超过确认期限",
        "Read the payout; what was not confirmed in time is closed and has to be ordered anew.",
        "请查询付款状态；逾期未确认的须重新发起。",
    ),
    C.CONFIRMATION_EXPIRED: ErrorText(
        K.CONFLICT,
        "The time to confirm the payout is over",
        "确认期限已过",
        "It is closed, and what was held is free again; order it anew with a new key.",
        "该付款已关闭，冻结资金已恢复可用；请以新的幂等键重新发起。",
    ),
    C.PAYEES_EXHAUSTED: ErrorText(
        K.CONFLICT,
        "The user has as many payees as can be kept",
        "收款人数量已达上限",
        "Remove one that is no longer used.",
        "请先删除不再使用的收款人。",
    ),
    C.PAYOUT_ORDER_EXISTS: ErrorText(
        K.CONFLICT,
        "This order is paid out, or being paid out",
        "该订单已付款或正在付款",
        "Read the payout named in `subject_id`; use another order number for another payout.",
        "请查询 subject_id 所示付款；另一笔付款请使用新的订单号。",
    ),
    C.PAYOUT_BANK_WITHOUT_FUNDS: ErrorText(
        K.REFUSED,
        "No bank of this destination holds enough of the customers' money now",
        "该目的地的备付金银行余额暂时不足",
        "Nothing was held. Ask again later with a new key.",
        "资金未被冻结；请稍后以新的幂等键重试。",
    ),
    C.EVIDENCE_NOT_ASKED: ErrorText(
        K.CONFLICT,
        "Nobody asks for evidence about this payout now",
        "当前未要求为该出款提供凭证",
        "Read the payout; `evidence_requested` says what is asked for and until when.",
        "请查看该出款；evidence_requested 说明所需凭证及截止时间。",
    ),
    C.IDENTITY_NOT_VERIFIED: ErrorText(
        K.REFUSED,
        "No bank has confirmed who this user is",
        "该用户的身份尚未经银行核实",
        "Bind a card of the user first: its issuer confirms name and document.",
        "请先为该用户绑定银行卡，由发卡银行核实姓名和证件。",
    ),
    C.RESIDENCY_NOT_OF_USER: ErrorText(
        K.REFUSED,
        "The residency class does not fit the type of the user",
        "该用户的外汇主体类别与其类型不符",
        "Ask again with a new Idempotency-Key; if it stays so, contact the institution.",
        "请以新的幂等键重试；如仍如此，请联系本机构。",
    ),
    C.RECEIVING_ACCOUNT_EXISTS: ErrorText(
        K.CONFLICT,
        "The user has a receiving account in this currency at this bank",
        "该用户在该银行已有该币种的收款账号",
        "Use the one in `subject_id`.",
        "请使用 subject_id 所示的收款账号。",
    ),
    C.RECEIVING_ACCOUNT_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such receiving account", "收款账号不存在", "Check the id.", "请检查收款账号编号。"
    ),
    C.INBOUND_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such remittance", "汇入款不存在", "Check the id.", "请检查汇入款编号。"
    ),
    C.FX_MANDATE_EXISTS: ErrorText(
        K.CONFLICT,
        "A mandate of the user for this currency is in force",
        "该用户在该币种已有生效的结汇授权",
        "End the one in `subject_id` first, or leave it as it is.",
        "请先终止 subject_id 所示的授权，或继续使用。",
    ),
    C.FX_MANDATE_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such mandate", "结汇授权不存在", "Check the id.", "请检查授权编号。"
    ),
    C.MANDATE_END_INVALID: ErrorText(
        K.REFUSED,
        "The mandate would end in the past",
        "授权的到期时间已过",
        "Send a later `valid_until`, or leave it out.",
        "请提供更晚的 valid_until，或不填写。",
    ),
    C.FX_ORDER_EXISTS: ErrorText(
        K.CONFLICT,
        "This order is converted, or being converted",
        "该订单已兑换或正在兑换",
        "Read the conversion in `subject_id`; use another order number for another conversion.",
        "请查询 subject_id 所示的兑换；另一笔兑换请使用其他订单号。",
    ),
    C.FX_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such conversion", "兑换不存在", "Check the id.", "请检查兑换编号。"
    ),
    C.FX_NOT_REFUSED: ErrorText(
        K.CONFLICT,
        "The conversion is not refused, so there is nothing to dispose of",
        "该兑换未被拒绝，无需处置",
        "Read the conversion: only one in state `refused` waits for you to say what becomes of it.",
        "请查询该兑换；仅 refused 状态的兑换需要处置。",
    ),
    C.FX_WITHOUT_REMITTANCE: ErrorText(
        K.REFUSED,
        "The conversion does not rest on one remittance, so it has nowhere to go back to",
        "该兑换不对应单笔汇入款，无法退回汇款人",
        "Release it: the currency is then free on the user's balance.",
        "请解除冻结，款项将回到用户的外币余额。",
    ),
    C.FX_BANK_WITHOUT_FUNDS: ErrorText(
        K.CONFLICT,
        "No one bank holds all of the amount for us now",
        "目前没有一家银行持有全部该笔外币",
        "Nothing was held; convert it in parts, or try later with a new Idempotency-Key.",
        "资金未被冻结；请分笔兑换，或稍后以新的幂等键重试。",
    ),
    C.ACCOUNT_CLOSING: ErrorText(
        K.REFUSED,
        "The user's account is being closed",
        "该用户的账户正在注销",
        "Nothing new is accepted but what empties the account: pay out what is there.",
        "除转出余额外，不再受理新的业务；请将余额付款至用户的银行账户。",
    ),
    C.QUICK_PAY_CLOSING: ErrorText(
        K.REFUSED,
        "The user's quick pay is being closed",
        "该用户的快捷支付正在关闭",
        "No card is bound or charged any more; a card can be bound anew once the closure has ended.",
        "不再绑定银行卡或扣款；关闭完成后可重新绑卡。",
    ),
    C.CLOSURE_EXISTS: ErrorText(
        K.CONFLICT,
        "A request of this user to close or to delete is under way",
        "该用户已有正在处理的注销、关闭或删除申请",
        "Read the one in `subject_id`; ask again once it has ended.",
        "请查询 subject_id 所示的申请；其结束后方可再次提出。",
    ),
    C.CLOSURE_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such closure", "注销申请不存在", "Check the id.", "请检查申请编号。"
    ),
    C.CLOSURE_NOT_ANSWERED: ErrorText(
        K.CONFLICT,
        "The request has not been answered yet",
        "该申请尚未答复",
        "Read the closure: the answer is there once it is `completed` or `refused`.",
        "请查询该申请；completed 或 refused 状态下方可获取答复。",
    ),
    C.QUICK_PAY_NOT_OPEN: ErrorText(
        K.REFUSED,
        "The user has no card bound, so there is no quick pay to close",
        "该用户未绑定银行卡，没有可关闭的快捷支付",
        "Nothing has to be closed.",
        "无需关闭。",
    ),
    C.IDENTITY_CHECK_INVALID: ErrorText(
        K.REFUSED,
        "The time of the identity check is in the future or too long ago",
        "身份核验时间无效",
        "Make sure who asks, and send when you did, within the last 24 hours.",
        "请核验申请人身份，并提供最近 24 小时内的核验时间。",
    ),
    C.RECORDS_NOT_AWAITED: ErrorText(
        K.CONFLICT,
        "This closure takes no records of where funds came from",
        "该申请不需要资金来源记录",
        "Records belong to the closing of an account, until its agreements have ended.",
        "仅在注销账户且协议尚未终止时提交资金来源记录。",
    ),
    C.ERASURE_NOT_ASKED: ErrorText(
        K.CONFLICT,
        "You have not been asked to delete yet",
        "尚未要求删除",
        "Reply once `closure.completed` has told you.",
        "请在收到 closure.completed 通知后回复。",
    ),
    C.ERASURE_REPLIED: ErrorText(
        K.CONFLICT,
        "You have replied otherwise already",
        "此前已作出不同回复",
        "A reply stands; tell the institution if it was wrong.",
        "回复不可更改；如有误，请联系本机构。",
    ),
    C.DISPUTE_EXISTS: ErrorText(
        K.CONFLICT,
        "A dispute about this is open",
        "该事项已有未解决的争议",
        "Read the one in `subject_id`.",
        "请查询 subject_id 所示的争议。",
    ),
    C.DISPUTE_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such dispute", "争议不存在", "Check the id.", "请检查争议编号。"
    ),
    C.DISPUTE_SUBJECT_NOT_FOUND: ErrorText(
        K.NOT_FOUND,
        "The user has no such payment, refund, payout or conversion",
        "该用户没有此笔收款、退款、付款或兑换",
        "Check `subject_id`, or leave it out for a dispute about the account.",
        "请检查 subject_id；如争议涉及整个账户，请不填写。",
    ),
    C.RETENTION_END_INVALID: ErrorText(
        K.REFUSED,
        "The last day of a longer retention is not ahead, or too far ahead",
        "延长保存的截止日期无效",
        "Send a day after today and within 30 years as `until_on`.",
        "请将 until_on 填写为今天之后、30 年以内的日期。",
    ),
    C.WITHDRAWN: ErrorText(
        K.REFUSED,
        "The institution has withdrawn this instruction",
        "本机构已撤销该指令",
        "It was not sent to the bank. Contact the institution before you send another.",
        "该指令未发送至银行；如需重新发起，请先联系本机构。",
    ),
    C.FUNCTION_SUSPENDED: ErrorText(
        K.REFUSED,
        "This function is suspended for this user or merchant",
        "该用户或商户的此项功能已暂停",
        "Do not repeat it. Contact the institution.",
        "请勿重复提交，请联系本机构。",
    ),
    C.FUNDS_FROZEN: ErrorText(
        K.REFUSED,
        "The funds that this would be paid from are frozen",
        "相关资金已冻结",
        "Contact the institution; what is frozen stays its owner's.",
        "请联系本机构；被冻结资金仍归原所有人。",
    ),
    C.AUTHORITY_HOLD: ErrorText(
        K.REFUSED,
        "An order of a competent authority stands in the way",
        "有权机关的指令限制了该操作",
        "Contact the institution.",
        "请联系本机构。",
    ),
    C.DISCOVERED_AT_INVALID: ErrorText(
        K.REFUSED,
        "The discovery lies in the future",
        "发现时间晚于当前时间",
        "Send when the user noticed it, or leave `discovered_at` out.",
        "请填写用户发现的实际时间，或不填写该字段。",
    ),
    C.EVENT_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such event", "事件不存在", "Check the event id.", "请检查事件编号。"
    ),
    C.WEBHOOK_ENDPOINT_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such webhook endpoint", "回调端点不存在", "Check the id.", "请检查端点编号。"
    ),
    C.WEBHOOK_DELIVERY_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such delivery", "投递记录不存在", "Check the id.", "请检查投递编号。"
    ),
    C.WEBHOOK_URL_NOT_ALLOWED: ErrorText(
        K.REFUSED,
        "Webhooks cannot be sent to this address",
        "该地址不可用于接收通知",
        "Use an https:// address with a public host name, port 443 or 1024 and above, without user name or fragment.",
        "请使用公网域名的 https:// 地址，端口为 443 或 1024 以上，不含用户名和片段。",
    ),
    C.WEBHOOK_ENDPOINTS_TOO_MANY: ErrorText(
        K.CONFLICT,
        "The merchant has as many webhook endpoints as it may have",
        "回调端点数量已达上限",
        "Delete one that is not used any more.",
        "请先删除不再使用的端点。",
    ),
    C.WEBHOOK_ENDPOINT_DISABLED: ErrorText(
        K.CONFLICT,
        "The webhook endpoint is disabled",
        "回调端点已停用",
        "Enable it, then repeat with a new Idempotency-Key.",
        "请先启用端点，再以新的幂等键重试。",
    ),
    C.REPLAY_TOO_LARGE: ErrorText(
        K.REFUSED,
        "More events than one replay may send again",
        "重放的事件过多",
        "Ask for a shorter span; one replay sends up to 1000 events.",
        "请缩短时间范围，每次最多重放 1000 个事件。",
    ),
    C.CALLBACK_REJECTED: ErrorText(
        K.UNAUTHENTICATED,
        "The callback is not authentic",
        "回调未通过验证",
        "Sign it with the key registered for this bank.",
        "请使用登记的密钥签名。",
    ),
    C.LOGIN_FAILED: ErrorText(
        K.UNAUTHENTICATED,
        "Login, password or code is wrong",
        "登录名、密码或动态口令有误",
        "Check all three; each code of the second factor works once. After some failures there is a pause.",
        "请检查三项内容；每个动态口令仅可使用一次，多次失败后需等待。",
    ),
    C.LOGIN_LOCKED: ErrorText(
        K.TOO_MANY,
        "Too many failed attempts",
        "失败次数过多",
        "Wait Retry-After seconds. If it was not you, tell an administrator.",
        "请稍后再试；如非本人操作，请联系系统管理员。",
    ),
    C.SESSION_MISSING: ErrorText(
        K.UNAUTHENTICATED,
        "No session token was sent",
        "未提供会话令牌",
        "Log in (POST /ops/v1/login) and send `Authorization: Bearer <token>`.",
        "请先登录并在 Authorization 头中提供令牌。",
    ),
    C.SESSION_INVALID: ErrorText(
        K.UNAUTHENTICATED,
        "The session is over",
        "会话已失效",
        "Log in again. A session ends after 8 hours, after 30 idle minutes, and when your password or roles change.",
        "请重新登录。",
    ),
    C.CREDENTIALS_EXPIRED: ErrorText(
        K.FORBIDDEN,
        "Your password has expired",
        "密码已过期",
        "Set a new one: POST /ops/v1/me/password, or bin/liushui password.",
        "请先修改密码。",
    ),
    C.PERMISSION_MISSING: ErrorText(
        K.FORBIDDEN,
        "Your roles do not allow this",
        "当前角色无此权限",
        "Ask a person whose role has the permission named in `detail`. The attempt is on record.",
        "请由具备相应权限的人员操作；本次尝试已记录。",
    ),
    C.TRAINING_EXPIRED: ErrorText(
        K.FORBIDDEN,
        "Personal data needs a current privacy training",
        "个人信息保护培训已过期",
        "Take the training; an administrator then renews your mark. The attempt is on record.",
        "请完成培训并由管理员更新记录。",
    ),
    C.PASSWORD_WRONG: ErrorText(
        K.REFUSED, "The current password is wrong", "当前密码有误", "Check it and try again.", "请检查后重试。"
    ),
    C.PASSWORD_TOO_WEAK: ErrorText(
        K.REFUSED,
        "The new password is too weak",
        "新密码强度不足",
        "Use 12 to 128 characters, eight of them different, without your login, and not the current one.",
        "请使用 12–128 位、至少 8 个不同字符、不含登录名且不同于当前的密码。",
    ),
    C.ENROLMENT_INVALID: ErrorText(
        K.UNAUTHENTICATED,
        "The enrolment token is not valid",
        "注册令牌无效",
        "It works once and for three days. Ask an administrator for another.",
        "令牌三天内有效且仅可使用一次，请联系管理员。",
    ),
    C.OPERATOR_EXISTS: ErrorText(
        K.CONFLICT,
        "This login is or was somebody's",
        "该登录名已存在",
        "Choose another; a login is never given twice.",
        "请更换登录名，登录名不可重复使用。",
    ),
    C.OPERATOR_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such operator", "操作员不存在", "Check the id or login.", "请检查编号。"
    ),
    C.OPERATOR_IS_ONESELF: ErrorText(
        K.FORBIDDEN,
        "Nobody changes their own roles, state or training",
        "不得变更本人的角色或状态",
        "Ask another administrator.",
        "请由其他管理员操作。",
    ),
    C.OPERATOR_HAS_LEFT: ErrorText(
        K.CONFLICT, "This operator has left", "该操作员已离职", "Enrol the person anew.", "请重新登记。"
    ),
    C.OPERATOR_STATE_DIFFERS: ErrorText(
        K.CONFLICT,
        "The operator's state does not allow this",
        "操作员当前状态不允许此操作",
        "Read the operator: only an active one is suspended, only a suspended one resumed.",
        "请查询操作员当前状态。",
    ),
    C.ROLE_UNKNOWN: ErrorText(
        K.REFUSED,
        "One of the roles does not exist, or none is given",
        "角色不存在或为空",
        "Use the names in config/roles.toml.",
        "请使用已配置的角色。",
    ),
    C.ROLES_INCOMPATIBLE: ErrorText(
        K.REFUSED,
        "No one person may have these roles together",
        "角色不相容",
        "Give them to different people.",
        "请分配给不同人员。",
    ),
    C.TRAINING_END_INVALID: ErrorText(
        K.REFUSED,
        "The training mark ends in the past or more than two years from now",
        "培训有效期无效",
        "Send an instant within two years.",
        "请提供两年内的时间。",
    ),
    C.INSTRUCTION_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such instruction", "指令不存在", "Check the id.", "请检查编号。"
    ),
    C.MERCHANT_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such merchant", "商户不存在", "Check the merchant id.", "请检查商户编号。"
    ),
    C.KEY_NOT_FOUND: ErrorText(
        K.NOT_FOUND, "There is no such key in use", "密钥不存在或已吊销", "Check the key id.", "请检查密钥编号。"
    ),
    C.CONTRACT_END_INVALID: ErrorText(
        K.REFUSED,
        "The contract must end in the future, within ten years",
        "合同到期时间无效",
        "Send a later instant.",
        "请提供有效的到期时间。",
    ),
    C.BANK_NOT_FOUND: ErrorText(
        K.NOT_FOUND,
        "There is no partner bank with this code",
        "无此合作银行",
        "See the codes at GET /ops/v1/partners (bin/liushui partners list).",
        "请查看合作银行列表。",
    ),
    C.BANK_NOT_TO_ASK: ErrorText(
        K.CONFLICT,
        "There is nothing to ask the bank about",
        "无需向银行查询",
        "Nothing was sent, or the bank's answer is final. Read the instruction.",
        "请查询指令状态。",
    ),
    C.REASON_HOLDS_PERSONAL_DATA: ErrorText(
        K.REFUSED,
        "The reason holds what looks like an ID, card or mobile number",
        "原因中含有疑似证件号、卡号或手机号",
        "Name the case or the instruction instead; reasons stay on record.",
        "请改为填写案件或指令编号。",
    ),
    C.PERSONAL_DATA_NOT_FOUND: ErrorText(
        K.NOT_FOUND,
        "The user has no such data, or they are erased",
        "无此个人信息或已删除",
        "Look at the user's bindings first.",
        "请先查看用户的绑卡。",
    ),
    C.DECISION_NOT_FOUND: ErrorText(
        K.NOT_FOUND,
        "There is no such decision",
        "决定不存在",
        "Check the decision id.",
        "请检查决定编号。",
    ),
    C.DECISION_KIND_UNKNOWN: ErrorText(
        K.REFUSED,
        "There is no such kind of decision",
        "决定类型不存在",
        "Use a kind of config/decisions.toml; after a change there, register the institution again.",
        "请使用已登记的决定类型。",
    ),
    C.GROUND_UNKNOWN: ErrorText(
        K.REFUSED,
        "This kind of decision does not have this ground",
        "该类决定不适用此理由代码",
        "Use a ground that config/decisions.toml lists for the kind (bin/liushui decisions kinds).",
        "请使用该类决定所列的理由代码。",
    ),
    C.SCREENING_LIST_UNKNOWN: ErrorText(
        K.REFUSED,
        "No list of this code has to be asked here",
        "该名单代码未登记",
        "Use a code of config/risk_rules.toml (bin/liushui screening lists), or add it there and register again.",
        "请使用已登记的名单代码，或先在配置中添加并重新登记。",
    ),
    C.SUBJECT_NOT_FOUND: ErrorText(
        K.NOT_FOUND,
        "There is nothing of this kind under this id",
        "决定对象不存在",
        "Check `subject_id`: it names what the decision is about.",
        "请检查 subject_id。",
    ),
    C.REVIEW_NOT_FOUND: ErrorText(
        K.NOT_FOUND,
        "There is no such review",
        "该审核不存在",
        "Look it up in the queue: bin/liushui reviews list.",
        "请在审核队列中查找：bin/liushui reviews list。",
    ),
    C.REVIEW_ENDED: ErrorText(
        K.CONFLICT,
        "The review has ended",
        "该审核已结束",
        "Read the review: it says how and by whom it was decided, or how its payout ended.",
        "请查看该审核的结论。",
    ),
    C.REVIEW_EXPIRED: ErrorText(
        K.CONFLICT,
        "Nobody decided the review in time",
        "该审核已超期",
        "Its payout is refused and the money is on the user's balance; the merchant may instruct again.",
        "出款已被拒绝，资金已回到用户余额；商户可重新发起。",
    ),
    C.REVIEW_TAKEN: ErrorText(
        K.CONFLICT,
        "Somebody else works on this review",
        "该审核已由他人处理",
        "Take another one, or ask its owner to release it; once overdue, the role it was escalated to can take it.",
        "请处理其他审核，或请其处理人释放；超期后可由升级角色接手。",
    ),
    C.REVIEW_NOT_TAKEN: ErrorText(
        K.CONFLICT,
        "You have not taken this review",
        "您尚未领取该审核",
        "Take it first: bin/liushui reviews take ID.",
        "请先领取：bin/liushui reviews take ID。",
    ),
    C.REVIEW_NOT_EXTENDABLE: ErrorText(
        K.CONFLICT,
        "The review cannot be extended any further",
        "该审核不能再延期",
        "Decide it before it expires; how often and how long is in config/reviews.toml.",
        "请在到期前作出决定；延期次数与时长见 config/reviews.toml。",
    ),
    C.REVIEW_DATE_INVALID: ErrorText(
        K.REFUSED,
        "The date for the evidence is over, or after the last day of the review",
        "凭证截止时间已过或晚于审核最长期限",
        "Name an instant between now and the review's `latest_at`.",
        "请填写现在与该审核 latest_at 之间的时间。",
    ),
    C.SCREENING_NOT_CLEARED: ErrorText(
        K.CONFLICT,
        "The user or the payee is like a listed name that nobody has cleared",
        "用户或收款人与名单相似，尚未排除",
        "Have the false hit cleared by two people first (screening.clear), or reject the review.",
        "请先由两人排除误报（screening.clear），或拒绝该审核。",
    ),
    C.DECISION_PENDING: ErrorText(
        K.CONFLICT,
        "The same decision waits for approval already",
        "同一决定已在等待复核",
        "Approve or reject the one that `subject_id` names.",
        "请先处理 subject_id 所示的待复核决定。",
    ),
    C.DECISION_NOT_APPLICABLE: ErrorText(
        K.CONFLICT,
        "As things stand this decision changes nothing, or cannot be made",
        "当前状态不适用该决定",
        "Read what the subject's state is now; it may have ended, or be so already.",
        "请查看对象的当前状态。",
    ),
    C.DECISION_DATE_INVALID: ErrorText(
        K.REFUSED,
        "The review or expiry date is missing, over, or too far away",
        "复核或到期日期缺失、已过或过远",
        "Name a date in the future, within the days that config/decisions.toml allows.",
        "请填写允许期限内的未来日期。",
    ),
    C.DECISION_ENDED: ErrorText(
        K.CONFLICT,
        "The decision is decided already",
        "该决定已有结论",
        "Read the decision; request another one if that is what you want.",
        "请查看该决定；如有需要请重新提出。",
    ),
    C.DECISION_EXPIRED: ErrorText(
        K.CONFLICT,
        "Nobody approved the request in time",
        "该决定申请已过期",
        "Request it again.",
        "请重新提出申请。",
    ),
    C.SECOND_PERSON_REQUIRED: ErrorText(
        K.FORBIDDEN,
        "A second person has to approve what you requested",
        "须由另一人复核",
        "Ask a colleague whose role may approve it.",
        "请由具备复核权限的另一人操作。",
    ),
    C.REQUESTER_NOT_PERMITTED: ErrorText(
        K.REFUSED,
        "Who requested it may no longer request it",
        "申请人已无此权限",
        "Have it requested again by somebody who may.",
        "请由具备权限的人员重新提出。",
    ),
    C.ALREADY_SENT: ErrorText(
        K.CONFLICT,
        "It was sent to the bank and can no longer be withdrawn",
        "指令已发送至银行，不能撤销",
        "Wait for the bank's answer; a payment that succeeds can be refunded.",
        "请等待银行结果；支付成功后可办理退款。",
    ),
    C.SETTLEMENT_NOT_FOUND: ErrorText(
        K.NOT_FOUND,
        "There is no such settlement",
        "结算单不存在",
        "Check the id; a settlement is reported by the event settlement.reported.",
        "请检查结算单编号。",
    ),
    C.RECEIVED_AT_INVALID: ErrorText(
        K.REFUSED,
        "The request cannot have arrived then",
        "收到申请的时间无效",
        "Name when it arrived: not in the future, and within the days that config/closing.toml allows.",
        "请填写实际收到的时间：不晚于现在，且在规定天数之内。",
    ),
    C.NOTHING_TO_DELETE: ErrorText(
        K.CONFLICT,
        "Nothing of these fields is kept of the user",
        "该用户没有可删除的此类信息",
        "Tell the user so; what the law keeps apart is not deleted on request.",
        "请告知用户；依法单独保存的信息不因申请而删除。",
    ),
    C.IDENTITY_NOT_AWAITED: ErrorText(
        K.CONFLICT,
        "This request does not wait for an identity check",
        "该申请不在等待身份核验",
        "Read the closure: it was verified before, or it has ended.",
        "请查询该申请：身份已核验，或申请已结束。",
    ),
    C.IDENTITY_DIFFERS: ErrorText(
        K.REFUSED,
        "What was shown is not the user's",
        "核验结果与用户不符",
        "Tell nobody what differs. The attempt counts; ask for another way of proof, or have it refused by two people.",
        "请勿告知差异所在。本次已计入次数；可换用其他方式核验，或由两人拒绝该申请。",
    ),
    C.IDENTITY_ATTEMPTS_EXHAUSTED: ErrorText(
        K.CONFLICT,
        "The identity was checked in vain too often",
        "身份核验失败次数已达上限",
        "Have the request refused by two people (closure.refuse, identity_not_verified); a new one may be made.",
        "请由两人拒绝该申请（closure.refuse，identity_not_verified）；用户可重新提出。",
    ),
    C.ORDER_NOT_IN_FORCE: ErrorText(
        K.CONFLICT,
        "There is no such order of an authority about this user in force that asks for it",
        "没有针对该用户且仍有效的有权机关指令",
        "Register the order first (authority_order.register, demands query); an expired one is registered anew.",
        "请先登记有权机关指令（authority_order.register，query）；已过期的须重新登记。",
    ),
    C.SETTLEMENT_NOT_PAYABLE: ErrorText(
        K.CONFLICT,
        "This settlement is not to be paid",
        "该结算单无需付款",
        "Only one that is reported or has failed can be paid; read it to see where it stands.",
        "仅可支付待付款或付款失败的结算单，请查看其状态。",
    ),
    C.SETTLEMENT_DATE_INVALID: ErrorText(
        K.REFUSED,
        "That day cannot be settled",
        "该日期不可结算",
        "Name today or one of the last 31 days, in Asia/Shanghai.",
        "请指定今天或最近 31 天内的日期（北京时间）。",
    ),
    C.SERVICE_UNAVAILABLE: ErrorText(
        K.UNAVAILABLE,
        "A part of the service does not answer",
        "服务暂不可用",
        "Repeat the same request with the same Idempotency-Key after Retry-After seconds.",
        "请稍后以相同幂等键重试。",
    ),
    C.BANK_NO_ANSWER: ErrorText(
        K.UNAVAILABLE,
        "The bank has not answered yet",
        "银行暂未应答",
        "Nothing is lost: read the resource; it says what it waits for.",
        "请稍后查询结果。",
    ),
}

# Only the operators' API answers with these: merchants' documents leave them out.
_ALL = list(ErrorCode)
OPERATOR_CODES = frozenset(_ALL[_ALL.index(C.LOGIN_FAILED) : _ALL.index(C.SERVICE_UNAVAILABLE)])
