//! From the schedule members of a request to a [`Schedule`]. The legacy `schedule` and the pair `scheduleType` +
//! `scheduleData` say the same in two ways; a request uses one of them.

use serde::{Deserialize, Serialize};

use super::model::{Schedule, TimeUnit};
use crate::{Error, Result, schedule};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleKind {
    Manual,
    Basic,
    Cron,
}

impl ScheduleKind {
    pub fn of(schedule: &Schedule) -> Self {
        match schedule {
            Schedule::Manual => Self::Manual,
            Schedule::Basic { .. } => Self::Basic,
            Schedule::Cron { .. } => Self::Cron,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    pub units: i64,
    pub unit: TimeUnit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronText {
    pub expression: String,
    pub zone: String,
}

/// The schedule members of a request, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScheduleRequest {
    /// `schedule`
    pub legacy: Option<Interval>,
    /// `scheduleType`
    pub kind: Option<ScheduleKind>,
    /// `scheduleData.basicSchedule`
    pub basic: Option<Interval>,
    /// `scheduleData.cron`
    pub cron: Option<CronText>,
}

impl ScheduleRequest {
    /// The schedule of a new connection; without any member it is manual. As upstream, data beside `manual` is ignored.
    pub fn for_create(&self) -> Result<Schedule> {
        match (self.legacy, self.kind) {
            (Some(_), Some(_)) => {
                let message = "schedule and scheduleType exclude each other: leave out the older schedule";
                Err(Error::invalid("schedule", message).with_code("invalid_schedule"))
            }
            (Some(interval), None) => {
                self.refuse_data_without_kind()?;
                basic(interval, "schedule")
            }
            (None, None) => {
                self.refuse_data_without_kind()?;
                Ok(Schedule::Manual)
            }
            (None, Some(ScheduleKind::Manual)) => Ok(Schedule::Manual),
            (None, Some(kind)) => self.of_kind(kind),
        }
    }

    /// The new schedule of a connection, or `None` where the request does not touch it.
    pub fn for_update(&self) -> Result<Option<Schedule>> {
        if self.legacy.is_some() {
            let message = "An update takes scheduleType and scheduleData; the older schedule is only for create";
            return Err(Error::invalid("schedule", message).with_code("invalid_schedule"));
        }
        let Some(kind) = self.kind else {
            self.refuse_data_without_kind()?;
            return Ok(None);
        };
        if kind == ScheduleKind::Manual && (self.basic.is_some() || self.cron.is_some()) {
            let message = "A manual schedule has no data: leave out scheduleData";
            return Err(Error::invalid("scheduleData", message).with_code("invalid_schedule"));
        }
        self.of_kind(kind).map(Some)
    }

    fn refuse_data_without_kind(&self) -> Result<()> {
        if self.basic.is_none() && self.cron.is_none() {
            return Ok(());
        }
        let message = "scheduleData needs scheduleType beside it: manual, basic or cron";
        Err(Error::invalid("scheduleType", message).with_code("invalid_schedule"))
    }

    fn of_kind(&self, kind: ScheduleKind) -> Result<Schedule> {
        match kind {
            ScheduleKind::Manual => Ok(Schedule::Manual),
            ScheduleKind::Basic => {
                let path = "scheduleData.basicSchedule";
                if self.cron.is_some() {
                    let message = "scheduleType is basic, so scheduleData.cron must be left out";
                    return Err(Error::invalid("scheduleData.cron", message).with_code("invalid_schedule"));
                }
                let Some(interval) = self.basic else {
                    let message = "scheduleType basic needs basicSchedule with units and timeUnit";
                    return Err(Error::invalid(path, message).with_code("invalid_schedule"));
                };
                basic(interval, path)
            }
            ScheduleKind::Cron => {
                if self.basic.is_some() {
                    let message = "scheduleType is cron, so scheduleData.basicSchedule must be left out";
                    return Err(Error::invalid("scheduleData.basicSchedule", message).with_code("invalid_schedule"));
                }
                let Some(CronText { expression, zone }) = self.cron.clone() else {
                    let message = "scheduleType cron needs cron with cronExpression and cronTimeZone";
                    return Err(Error::invalid("scheduleData.cron", message).with_code("invalid_schedule"));
                };
                if let Err(message) = schedule::Cron::parse(&expression, &zone) {
                    let zone_is_wrong = zone.parse::<chrono_tz::Tz>().is_err();
                    let (field, value) =
                        if zone_is_wrong { ("cronTimeZone", zone) } else { ("cronExpression", expression) };
                    let path = format!("scheduleData.cron.{field}");
                    return Err(Error::invalid(path, message).with_value(value).with_code("invalid_schedule"));
                }
                Ok(Schedule::Cron { expression, zone })
            }
        }
    }
}

fn basic(interval: Interval, path: &str) -> Result<Schedule> {
    let Interval { units, unit } = interval;
    if let Err(message) = schedule::interval(units, unit) {
        return Err(Error::invalid(format!("{path}.units"), message).with_value(units).with_code("invalid_schedule"));
    }
    Ok(Schedule::Basic { units, unit })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DAY: Interval = Interval { units: 1, unit: TimeUnit::Days };

    fn cron(expression: &str, zone: &str) -> CronText {
        CronText { expression: expression.to_owned(), zone: zone.to_owned() }
    }

    fn path_of<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().violations.remove(0).property_path
    }

    #[test]
    fn a_new_connection_takes_either_form_and_only_one() {
        let check = |request: ScheduleRequest, expected: Result<Schedule, &str>| match expected {
            Ok(schedule) => assert_eq!(request.for_create().unwrap(), schedule, "{request:?}"),
            Err(path) => assert_eq!(path_of(request.for_create()), path, "{request:?}"),
        };
        let none = ScheduleRequest::default();
        let legacy = ScheduleRequest { legacy: Some(DAY), ..none.clone() };
        let of = |kind| ScheduleRequest { kind: Some(kind), ..none.clone() };
        let every_day = Schedule::Basic { units: 1, unit: TimeUnit::Days };
        let six = cron("0 0 6 * * ?", "US/Pacific");
        check(none.clone(), Ok(Schedule::Manual));
        check(legacy.clone(), Ok(every_day.clone()));
        check(ScheduleRequest { kind: Some(ScheduleKind::Manual), ..legacy.clone() }, Err("schedule"));
        check(ScheduleRequest { basic: Some(DAY), ..legacy }, Err("scheduleType"));
        check(ScheduleRequest { basic: Some(DAY), ..none.clone() }, Err("scheduleType"));
        check(of(ScheduleKind::Manual), Ok(Schedule::Manual));
        check(ScheduleRequest { basic: Some(DAY), ..of(ScheduleKind::Manual) }, Ok(Schedule::Manual));
        check(ScheduleRequest { basic: Some(DAY), ..of(ScheduleKind::Basic) }, Ok(every_day));
        check(of(ScheduleKind::Basic), Err("scheduleData.basicSchedule"));
        check(of(ScheduleKind::Cron), Err("scheduleData.cron"));
        check(ScheduleRequest { basic: Some(DAY), ..of(ScheduleKind::Cron) }, Err("scheduleData.basicSchedule"));
        check(ScheduleRequest { cron: Some(six.clone()), ..of(ScheduleKind::Basic) }, Err("scheduleData.cron"));
        let zoned = Schedule::Cron { expression: six.expression.clone(), zone: six.zone.clone() };
        check(ScheduleRequest { cron: Some(six), ..of(ScheduleKind::Cron) }, Ok(zoned));
        let nowhere = Some(cron("0 0 6 * * ?", "Mars/Olympus"));
        check(ScheduleRequest { cron: nowhere, ..of(ScheduleKind::Cron) }, Err("scheduleData.cron.cronTimeZone"));
        let unix = Some(cron("0 6 * * *", "UTC"));
        check(ScheduleRequest { cron: unix, ..of(ScheduleKind::Cron) }, Err("scheduleData.cron.cronExpression"));
    }

    #[test]
    fn an_update_takes_the_newer_form_only() {
        let none = ScheduleRequest::default();
        let of = |kind| ScheduleRequest { kind: Some(kind), ..none.clone() };
        assert_eq!(none.for_update().unwrap(), None);
        assert_eq!(of(ScheduleKind::Manual).for_update().unwrap(), Some(Schedule::Manual));
        assert_eq!(path_of(ScheduleRequest { legacy: Some(DAY), ..none.clone() }.for_update()), "schedule");
        assert_eq!(path_of(ScheduleRequest { basic: Some(DAY), ..none.clone() }.for_update()), "scheduleType");
        let manual = ScheduleRequest { basic: Some(DAY), ..of(ScheduleKind::Manual) };
        assert_eq!(path_of(manual.for_update()), "scheduleData");
    }

    #[test]
    fn intervals_run_from_a_minute_to_a_hundred_years() {
        let check = |units, unit, expected| {
            let request = ScheduleRequest { legacy: Some(Interval { units, unit }), ..ScheduleRequest::default() };
            assert_eq!(request.for_create().is_ok(), expected, "{units} {unit:?}");
        };
        check(1, TimeUnit::Minutes, true);
        check(0, TimeUnit::Minutes, false);
        check(-5, TimeUnit::Days, false);
        check(36_525, TimeUnit::Days, true);
        check(36_526, TimeUnit::Days, false);
        check(566_602, TimeUnit::Days, false);
        check(249_420, TimeUnit::Hours, true);
        check(1_217, TimeUnit::Months, true);
        check(1_218, TimeUnit::Months, false);
        check(i64::MAX, TimeUnit::Months, false);
        check(i64::MIN, TimeUnit::Weeks, false);
    }
}
