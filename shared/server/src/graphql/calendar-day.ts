/** Whether YYYY-MM-DD is a day of the calendar. (`new Date` takes the 30th of February for the 1st of March.) */
export function isCalendarDay(text: string): boolean {
  const day = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
}
