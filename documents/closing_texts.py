"""The words of the answers to users: in Chinese, and in English. They are for the person: plain words."""

from __future__ import annotations

from collections.abc import Mapping

from domain.closing import ClosureScope, DeletionGround, RefusalGround
from domain.personal_data import PersonalField

Pair = tuple[str, str]

CERTIFICATES: Mapping[ClosureScope, Pair] = {
    ClosureScope.ACCOUNT: ("账户注销证明", "Certificate of account closure"),
    ClosureScope.QUICK_PAY: ("快捷支付关闭证明", "Certificate of quick pay closure"),
    ClosureScope.DELETION: ("个人信息删除证明", "Certificate of deletion of personal information"),
}
REFUSALS: Mapping[ClosureScope, Pair] = {
    ClosureScope.ACCOUNT: ("关于注销账户申请的答复", "Answer to your request to close your account"),
    ClosureScope.QUICK_PAY: ("关于关闭快捷支付申请的答复", "Answer to your request to close quick pay"),
    ClosureScope.DELETION: ("关于删除个人信息申请的答复", "Answer to your request to delete personal information"),
}
SCOPES: Mapping[ClosureScope, Pair] = {
    ClosureScope.ACCOUNT: ("注销账户", "To close the account"),
    ClosureScope.QUICK_PAY: ("关闭快捷支付", "To close quick pay"),
    ClosureScope.DELETION: ("删除个人信息", "To delete personal information"),
}
# What has been done, and what it means from now on.
RESULTS: Mapping[ClosureScope, tuple[Pair, Pair]] = {
    ClosureScope.ACCOUNT: (
        (
            "您通过{merchant}开立的支付账户已经注销，您与我们之间的服务协议随之终止。此后我们不再受理以您的名义"
            "发出的任何支付指令，也不再收集您的个人信息。",
            "The payment account that you held through {merchant} is closed, and your agreement with us has ended."
            " From now on we accept no payment instruction in your name and collect no personal information about you.",
        ),
        (
            "注销之前的交易，各方的权利和责任不因注销而改变。以后如要再次使用服务，须从头重新开通。",
            "For what happened before, everybody's rights and duties stay as they were. To use the service again you"
            " would have to enrol anew, from nothing.",
        ),
    ),
    ClosureScope.QUICK_PAY: (
        (
            "您通过{merchant}使用的快捷支付已经关闭，所绑定的银行卡均已在银行解约，此后不能再经快捷支付从这些卡扣款。",
            "Quick pay, which you used through {merchant}, is closed. Every card that was bound has been released at"
            " its bank, and nothing can be debited from it by quick pay any more.",
        ),
        (
            "您的账户和余额不受影响。关闭之前的交易，各方的权利和责任不因关闭而改变。以后如要再次使用快捷支付，"
            "须重新绑定银行卡。",
            "Your account and its balance are not affected. For what happened before, everybody's rights and duties"
            " stay as they were. To use quick pay again you would have to bind a card anew.",
        ),
    ),
    ClosureScope.DELETION: (
        (
            "我们同意您就{merchant}的服务提出的删除申请，并已按下文所述删除您的个人信息。",
            "We have granted your request about the service that you use through {merchant}, and your personal"
            " information has been deleted as stated below.",
        ),
        (
            "删除个人信息本身并不注销账户；需要用到已删除信息的功能，须由您重新提供信息后才能使用。",
            "A deletion does not by itself close an account. What needs the deleted information can be used again only"
            " after you have given it anew.",
        ),
    ),
}
DELETION_GROUNDS: Mapping[DeletionGround, Pair] = {
    DeletionGround.UNLAWFUL_PROCESSING: (
        "您的个人信息被违法处理",
        "The information was processed in breach of the law",
    ),
    DeletionGround.NO_CONSENT: (
        "收集、使用个人信息未征得您的同意",
        "The information was collected or used without your consent",
    ),
    DeletionGround.BREACH_OF_AGREEMENT: (
        "处理个人信息严重违反与您的约定",
        "The information was processed in serious breach of what was agreed with you",
    ),
    DeletionGround.ACCOUNT_CLOSED: ("您已注销账户", "Your account was closed"),
    DeletionGround.SERVICE_ENDED: ("我们已永久终止服务", "We have ended the service for good"),
}
REFUSAL_GROUNDS: Mapping[RefusalGround, Pair] = {
    RefusalGround.NATIONAL_SECURITY: (
        "所涉事项与国家安全、国防安全直接相关",
        "The matter bears directly on national security or defence",
    ),
    RefusalGround.PUBLIC_INTEREST: (
        "所涉事项与公共安全、公共卫生或重大公共利益直接相关",
        "The matter bears directly on public safety, public health or another important public interest",
    ),
    RefusalGround.CRIMINAL_PROCEEDINGS: (
        "所涉事项与犯罪侦查、起诉、审判或判决执行直接相关",
        "The matter bears directly on a criminal investigation, prosecution, trial or the execution of a judgment",
    ),
    RefusalGround.MALICE_OR_ABUSE: (
        "有充分证据表明申请出于恶意或者滥用权利",
        "There is sufficient evidence that the request was made in bad faith or that a right was abused",
    ),
    RefusalGround.RIGHTS_OF_OTHERS: (
        "同意申请会使您本人、其他个人或组织的合法权益受到严重损害",
        "Granting the request would seriously harm the lawful rights of yourself or of other persons or organisations",
    ),
    RefusalGround.TRADE_SECRETS: ("所涉事项关系到商业秘密", "The matter concerns trade secrets"),
    RefusalGround.IDENTITY_NOT_VERIFIED: (
        "我们未能核实申请是由您本人提出的",
        "We could not verify that it was you who made the request",
    ),
    RefusalGround.UNREASONABLE_REQUEST: (
        "申请没有依据、不切实际，或者需要过多的技术手段，或者会给他人的合法权益带来风险",
        "The request has no basis, is not realistic, takes technical means beyond proportion, or puts the lawful"
        " rights of others at risk",
    ),
    RefusalGround.GROUND_NOT_MET: (
        "经核查，不具备申请所依据的情形",
        "We looked into it: the ground on which you asked is not given",
    ),
}
CHANNELS: Mapping[str, Pair] = {
    "merchant": ("通过商户", "Through the merchant"),
    "hotline": ("客服热线", "Hotline"),
    "email": ("电子邮件", "Email"),
}
FIELDS: Mapping[PersonalField, Pair] = {
    PersonalField.NAME: ("姓名", "name"),
    PersonalField.ID_NUMBER: ("身份证件号码", "number of the identity document"),
    PersonalField.CARD_NUMBER: ("银行卡号", "bank card number"),
    PersonalField.MOBILE: ("银行预留手机号", "mobile number known to the bank"),
    PersonalField.ACCOUNT_NUMBER: ("收款银行账号", "number of the bank account paid out to"),
    PersonalField.AGREEMENT_NUMBER: ("快捷支付协议号", "number of the quick pay agreement"),
}
KEPT_KINDS: Mapping[str, Pair] = {
    "identity": ("身份信息（协议于{year}年终止）", "Identity (agreement ended in {year})"),
    "transaction": ("交易记录（{year}年入账）", "Transactions booked in {year}"),
    "source_of_funds": ("资金来源记录（{year}年入账）", "Source of funds, booked in {year}"),
}
KEPT_GROUNDS: Mapping[str, Pair] = {
    "law": ("法律要求支付机构在规定年限内保存", "The law requires us to keep it"),
    "agreement": ("服务协议约定的保存年限", "As stated in the service agreement"),
    "consent": ("您另行同意保存更长时间", "You have agreed to a longer time"),
}
PSEUDONYMOUS: Mapping[str, tuple[Pair, Pair]] = {
    "fx_quota": (
        ("已使用的个人年度结售汇额度", "Foreign exchange quota used in a year"),
        (
            "额度按每人每年计算，重新开通服务不能使已用额度归零",
            "The quota is counted for each person and year; enrolling again must not reset it",
        ),
    ),
    "misuse_marks": (
        ("滥用服务的标记", "Marks of misuse of the service"),
        ("防止以重新开通的方式规避既有限制", "So that enrolling again is no way around restrictions"),
    ),
    "screening": (
        ("与监管名单比对的结果", "Comparison with the lists of the authorities"),
        (
            "法律要求持续比对，重新开通服务不能抹去已有结论",
            "The law requires the comparison; enrolling again must not wipe out what was found",
        ),
    ),
}
RECIPIENT_KINDS: Mapping[str, Pair] = {"merchant": ("商户", "Merchant"), "bank": ("银行", "Bank")}
REPLIES: Mapping[str, Pair] = {
    "none": ("尚未回复", "No reply yet"),
    "received": ("已收到通知，正在处理", "Has received the notice and is dealing with it"),
    "erased": ("已删除", "Has deleted it"),
    "kept": ("继续保存。理由：{reason}", "Keeps it. Reason: {reason}"),
}
# Other reasons stand in the recipient's own words.
REPLY_REASONS: Mapping[str, Pair] = {
    "law": ("法律要求其保存", "the law requires the recipient to keep it"),
    "own_authorisation": ("您曾直接授权该接收方", "you have authorised the recipient itself"),
}
TEXTS: Mapping[str, Pair] = {
    "dear_user": ("尊敬的用户：", "Dear user,"),
    "refused": ("很抱歉，我们未能同意您的申请。", "We are sorry: we did not grant your request."),
    "reason": ("理由：{reason}。", "The reason: {reason}."),
    "reason_untold": (
        "依照法律规定，我们不能向您说明具体理由。",
        "The law does not allow us to tell you the reason.",
    ),
    "unchanged": (
        "您的账户、服务和个人信息仍与申请前相同，没有因本次申请而注销或删除。",
        "Your account, the service and your personal information are as they were before: this request has closed and"
        " deleted nothing.",
    ),
    "late": (
        "本答复晚于应当答复的日期，我们为此致歉。",
        "This answer comes after the day on which it was due; we apologise.",
    ),
    "fact_closure": ("受理编号", "Request number"),
    "fact_user": ("用户编号", "User number"),
    "fact_merchant": ("商户", "Merchant"),
    "fact_scope": ("申请事项", "What was asked"),
    "fact_ground": ("申请依据", "Ground"),
    "fact_channel": ("申请渠道", "How it was asked"),
    "fact_received": ("收到申请", "Received"),
    "fact_due": ("应当答复日期", "Answer due by"),
    "fact_answered": ("答复时间", "Answered"),
    "fact_ended_account": ("协议终止日期", "Agreement ended on"),
    "fact_ended_quick_pay": ("快捷支付终止日期", "Quick pay ended on"),
    "destroyed_title": ("已经删除的信息", "What was deleted"),
    "destroyed_by_key": (
        "我们以一把只属于您的密钥加密保存您的个人信息。该密钥已于{at}销毁，此后在我们的系统中，任何人"
        "（包括我们自己）都不能再读出以下信息（共{items}）：{fields}。备份中的副本见下一节。",
        "We kept your personal information encrypted under a key that was yours alone. That key was destroyed on {at}."
        " Since then nobody, ourselves included, can read this in our systems ({items} in all): {fields}. Copies in"
        " backups are dealt with below.",
    ),
    "destroyed_items": (
        "以下信息已于{at}删除（共{items}）：{fields}。",
        "This was deleted on {at} ({items} in all): {fields}.",
    ),
    "one_item": (" 1 项", "1 item"),
    "items": (" {count} 项", "{count} items"),
    "destroyed_nothing": (
        "在我们的系统中没有发现需要删除的个人信息。",
        "We found no personal information in our systems that had to be deleted.",
    ),
    "backups_title": ("备份中的副本", "Copies in backups"),
    "backups_key": (
        "备份中可能还有加密的副本。密钥自身的备份将于{on}全部到期；自该日起，备份中的副本再也不能读出。",
        "Backups may still hold encrypted copies. Copies in backups cannot be read any more once the key's own backups"
        " have expired, on {on}.",
    ),
    "backups_expire": (
        "备份本身将于{on}全部到期删除。",
        "The backups themselves will all have expired, and be deleted, on {on}.",
    ),
    "backups_restored": (
        "在此之前，备份单独保管，不作任何使用；如果不得不用备份恢复系统，我们会先把本次删除重新执行一遍，然后才启用系统。",
        "Until then backups are kept apart and used for nothing. Should a system have to be restored from one, this"
        " deletion is carried out again before anything is started.",
    ),
    "kept_title": ("继续保存的信息", "What is kept"),
    "kept_lead": (
        "以下信息已移到单独的存储中，使用另外的密钥，我们的业务系统不能读取。只有国家机关依法出具文书查询时，"
        "才由两名人员共同调取。",
        "This has been moved to a store of its own under another key, which our business systems cannot read. It is"
        " opened only when an authority asks for it with a formal order, and by two people together.",
    ),
    "kept_what": ("信息", "Information"),
    "kept_count": ("条数", "Records"),
    "kept_until": ("保存至", "Kept until"),
    "kept_why": ("原因", "Why"),
    "kept_note": (
        "到所列日期即行销毁。如果届时案件或调查尚未结束，则保存到其结束为止。",
        "On the date stated it is due to be destroyed. If a case or an investigation is still open by then, it is kept"
        " until that has ended.",
    ),
    "kept_nothing": ("没有需要继续保存的信息。", "Nothing has to be kept any longer."),
    "pseudonym_title": ("以代号保留的记录", "What stays under a pseudonym"),
    "pseudonym_lead": (
        "以下记录不含您的姓名、证件号码或账号，而是以一个用密钥算出的代号代替。从代号不能反推出您是谁；"
        "只有同一证件再次开通服务时，才会与它对应。",
        "These records hold neither your name nor a number of yours. In their place stands a pseudonym that is computed"
        " with a secret key: it cannot be turned back into who you are, and is met again only if somebody enrols with"
        " the same identity document.",
    ),
    "pseudonym_what": ("记录", "Record"),
    "told_title": ("已通知的接收方", "Who was told to delete"),
    "told_lead": (
        "按照我们的记录，您的信息曾提供给以下接收方。我们要求其同样删除；到本文件出具时的情况如下。",
        "By our records, these have received information about you. We have asked them to delete it as well. This is"
        " how things stand as of this document.",
    ),
    "told_recipient": ("接收方", "Recipient"),
    "told_kind": ("类别", "Kind"),
    "told_at": ("通知时间", "Told"),
    "told_reply": ("回复", "Reply"),
    "told_not_yet": ("尚未通知", "Not told yet"),
    "told_nobody": (
        "按照我们的记录，没有需要通知的接收方。",
        "By our records there is nobody who had to be told.",
    ),
    "reply_unreasoned": ("未说明", "not stated"),
    "reply_at": ("（{at}）", " ({at})"),
    "next_title": ("您可以怎么做", "What you can do"),
    "next_again": (
        "情况有变化，或者您能够补充材料时，可以随时重新提出申请，并请说明受理编号 {closure}。",
        "If things have changed, or you can add evidence, you may ask again at any time; please state the request"
        " number {closure}.",
    ),
    "next_identity": (
        "您也可以换一种方式证明身份后重新提出申请：登录后提出，或者致电客服热线、前往我们的办公地址。",
        "You may ask again and prove in another way who you are: after logging in, by our hotline, or at our office.",
    ),
    "next_ask": (
        "对本答复有疑问，可以拨打客服热线 {hotline}，或者发送邮件至 {privacy}。",
        "If you have questions about this answer, call our hotline {hotline} or write to {privacy}.",
    ),
    "next_complain": (
        "对本答复不满意，您有权向监管部门投诉：{complaint}。",
        "If you are not satisfied with this answer, you may complain to the authorities: {complaint}.",
    ),
    "contact_title": ("联系我们", "How to reach us"),
    "contact_hotline": ("客服热线", "Hotline"),
    "contact_email": ("客服邮箱", "Email"),
    "contact_privacy": ("个人信息保护", "Personal information"),
    "contact_address": ("办公地址", "Office"),
    "contact_complaint": ("投诉渠道", "Complaints"),
    "times": (
        "日期和时间均为北京时间。查询进展请提供受理编号。",
        "All dates and times are those of Beijing. To ask how things stand, state the request number.",
    ),
}
